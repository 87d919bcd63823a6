"""Builds RFC 9421 signature bases with the `http-message-signatures` package.

Reads one JSON object a line: "params" (the value of `@signature-params`), "request" {"method",
"url", "headers"} and, where a response is signed, "response" {"status", "headers"}. Answers the
base as one JSON string a line.
"""

import json
import sys
from types import SimpleNamespace

from http_message_signatures import HTTPMessageSigner, algorithms


class Fields:
    """Header fields that keep repeated lines apart."""

    def __init__(self, lines):
        self.lines = lines

    def items(self):
        return [tuple(line) for line in self.lines]


handler = HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=None)
for case in sys.stdin:
    case = json.loads(case)
    request = SimpleNamespace(
        method=case["request"]["method"],
        url=case["request"]["url"],
        headers=Fields(case["request"]["headers"]),
    )
    message = request
    if "response" in case:
        message = SimpleNamespace(
            request=request,
            status_code=case["response"]["status"],
            headers=Fields(case["response"]["headers"]),
        )
    covered = handler._parse_signature_dictionary("sig=" + case["params"])["sig"]
    base, _, _ = handler._build_signature_base(
        message, covered_component_ids=list(covered), signature_params=covered.params
    )
    print(json.dumps(base))
