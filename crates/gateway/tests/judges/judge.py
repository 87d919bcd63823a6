"""Judges saved exchanges with quorate_verify.py: one JSON object a line, in and out."""

import base64
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[4] / "examples/clients/python"))

from quorate_verify import NotVerified, Policy, parse_request, parse_response, verify  # noqa: E402

for line in sys.stdin:
    case = {name: base64.b64decode(text) for name, text in json.loads(line).items()}
    try:
        policy, request = Policy(case["policy"]), parse_request(case["request"])
        verdict = verify(policy, request, parse_response(case["response"], request.method))
        names = ("signers", "replicas", "index", "fresh")
        print(json.dumps({name: getattr(verdict, name) for name in names}))
    except NotVerified as reason:
        print(json.dumps({"refused": reason.code}))
