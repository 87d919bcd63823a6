"""python3 -m unittest discover examples/clients/python"""

import base64
import hashlib
import pathlib
import re
import unittest

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from quorate_verify import (
    L, NotVerified, Policy, Request, Response, parse_request, parse_response, verify,
)

EXAMPLE = pathlib.Path(__file__).parents[3] / "crates/proof/testdata/example"
POLICY, REQUEST, RESPONSE = (
    (EXAMPLE / name).read_bytes() for name in ("policy.txt", "request.http", "response.http")
)
VERIFIED = "verified: 3 of 4 replicas, entry 5"


def judge(policy=POLICY, request=REQUEST, response=RESPONSE):
    """The verdict as one line, or the code of what is wrong."""
    try:
        policy = policy if isinstance(policy, Policy) else Policy(policy)
        asked = request if isinstance(request, Request) else parse_request(request)
        answered = response
        if not isinstance(response, Response):
            answered = parse_response(response, asked.method)
        return str(verify(policy, asked, answered))
    except NotVerified as reason:
        return reason.code


def replaced(file, old, new):
    assert old in file, old
    return file.replace(old, new, 1)


CHANGES = {
    "a bit": lambda byte: bytes([byte ^ 1]),
    "case": lambda byte: bytes([byte ^ 0x20]),
    "the high bit": lambda byte: bytes([byte ^ 0x80]),
    "gone": lambda byte: b"",
    "doubled": lambda byte: bytes([byte, byte]),
    "a blank before": lambda byte: bytes([0x20, byte]),
    "a NUL": lambda byte: b"\0",
}


def changes(file):
    for at, byte in enumerate(file):
        for how, change in CHANGES.items():
            yield at, how, file[:at] + change(byte) + file[at + 1 :]


def meaning(file):
    """A message without what nothing covers: free fields, Host, case of names, outer blanks."""
    head, separator, body = file.partition(b"\r\n\r\n")
    start, *lines = head.split(b"\r\n")
    start = re.sub(rb"^(HTTP/1\.1 201 ).*", rb"\1", start)
    pairs = (line.partition(b":")[::2] for line in lines)
    fields = [(name.lower(), value.strip(b" \t")) for name, value in pairs]
    known = re.compile(rb"content-|idempotency-key|location|cache-control|quorate-")
    return start, sorted(field for field in fields if known.match(field[0])), body


class WorkedExample(unittest.TestCase):
    def test_it_is_verified(self):
        request = parse_request(REQUEST)
        verdict = verify(Policy(POLICY), request, parse_response(RESPONSE, request.method))
        self.assertEqual(str(verdict), VERIFIED)
        self.assertEqual(verdict.names, [f"org-{o}.example/r{r}" for r, o in enumerate("abc")])
        self.assertEqual((verdict.index, verdict.size, verdict.time), (5, 7, 1763658123456))
        self.assertTrue(verdict.fresh)
        self.assertFalse(verdict.development)

    def test_rules_about_answers_in_the_policy_are_comments(self):
        rules = b"# quorate-answers/1 not-covered json-spelling\n# quorate-answers/1 x\n"
        self.assertEqual(judge(rules + POLICY), VERIFIED)

    def test_every_changed_byte_is_refused_unless_nothing_covers_it(self):
        policy = Policy(POLICY)
        for name, file in ("request", REQUEST), ("response", RESPONSE):
            refused = 0
            for at, how, changed in changes(file):
                outcome = judge(policy, **{name: changed})
                refused += outcome != VERIFIED
                if outcome.startswith("verified"):
                    self.assertEqual(outcome, VERIFIED)
                    self.assertEqual(meaning(changed), meaning(file), f"byte {at}, {how}")
            self.assertGreater(refused, 3 * len(file))

    def test_every_changed_byte_of_the_policy_is_refused_or_changes_only_who_is_asked(self):
        for at, how, changed in changes(POLICY):
            if judge(changed).startswith("verified"):
                # Blanks around words, empty lines, and a threshold of at most 3.
                same = re.sub(rb"replicas [123] ", b"replicas 3 ", changed).split()
                self.assertEqual(same, POLICY.split(), f"byte {at}, {how}")


class Forms(unittest.TestCase):
    def test_files_and_fields_have_one_form(self):
        for part, old, new, outcome in [
            ("request", b"HTTP/1.1", b"HTTP/1.0", "file-start-line"),
            ("request", b"/orders", b"http://a/orders", "file-start-line"),
            ("request", b"/orders", b"/orders#a", "file-start-line"),
            ("request", b"Host:", b"Host: a\r\nHost:", "file-host"),
            ("request", b"Host:", b"Host :", "file-header-line"),
            ("request", b"\r\n\r\n", b"\n\n", "file-truncated"),
            ("request", b"Length: 22", b"Length: 022", "file-content-length"),
            ("request", b"Idempotency-Key", b"Idempotency", "not-in-log"),
            ("request", b"User-", b"Content-Encoding: gzip\r\nUser-", "content-coded"),
            ("request", b"User-", b"Content-Range: a\r\nUser-", "content-partial"),
            ("response", b"201 Created", b"201", "file-start-line"),
            ("response", b"201 Created", b"201 ", VERIFIED),
            ("response", b"201", b"103", "file-interim"),
            ("response", b"Link:", b"Transfer-Encoding: a\r\nLink:", "file-transfer-encoding"),
            ("response", b"Index: 5", b"Index: 05", "field-malformed"),
            ("response", b"Index: 5", b"Index: 6", "index-differs"),
            ("response", b"Index: 5", b"Index: 9223372036854775808", "field-malformed"),
            ("response", b"Index: 5", "Index: \u0665".encode(), "field-malformed"),
            ("response", b"ODw==:", b"ODx==:", "field-malformed"),
            ("response", b"ODw==:", b"ODw==:;a", "field-malformed"),
            ("response", b"Quorate-Time", b"Quorate-Clock", "field-missing"),
            ("response", b"Link:", b"Quorate-Covers: etag\r\nLink:", "covers-reserved"),
            ("response", b"Link:", b"Quorate-Covers: A\r\nLink:", "covers-name"),
            ("response", b"Link:", b"Quorate-Covers: a, a\r\nLink:", "covers-twice"),
            ("response", b"Link:", b"Quorate-Covers: a, b;req\r\nLink:", "covers-order"),
            ("response", b"Link:", b"Quorate-Covers: a\r\nLink:", "not-in-log"),
        ]:
            files = {"request": REQUEST, "response": RESPONSE}
            files[part] = replaced(files[part], old, new)
            self.assertEqual(judge(POLICY, **files), outcome, new)

    def test_a_policy_has_one_meaning_or_is_refused(self):
        for old, new, outcome in [
            (b"quorum replicas", b"quorum r1", "verified: 1 of 1 replicas, entry 5"),
            (b"quorum replicas", b"quorum r3", "quorum-missing"),
            (b"replicas 3 ", b"replicas any ", VERIFIED),
            (b"replicas 3 ", b"replicas all ", "quorum-missing"),
            (b"replicas 3 ", b"replicas 0 ", "policy-threshold"),
            (b"replicas 3 ", b"replicas 03 ", "policy-threshold"),
            (b"quorum replicas", b"# note\n\n\t quorum\treplicas", VERIFIED),
            (b"quorum replicas", b"quorum none", "policy-unknown-name"),
            (b"quorum replicas", b"quorum replicas\nquorum r1", "policy-quorum"),
            (b"quorum replicas\n", b"quorum replicas", "policy-malformed"),
            (b" r2 r3", b" r2 r2", "policy-member-twice"),
            (b"witness r1", b"witness r0", "policy-name"),
            (b"log ", b"witness a ", "key-type"),
            (b"+c8aa8594", b"+c8aa8595", "key-id"),
            (b"quorum replicas", b"group a 2 replicas replicas\nquorum a", "policy-member-twice"),
            (b"quorum replicas", b"group a 1 replicas\nquorum a", VERIFIED),
        ]:
            self.assertEqual(judge(replaced(POLICY, old, new)), outcome, new)
        self.assertEqual(judge(b""), "policy-malformed")
        self.assertEqual(judge(b"#" * (1 << 20) + POLICY), "policy-too-long")
        nested = b"".join(b"group g%d 1 g%d\n" % (at, at - 1) for at in range(1, 33))
        deep = POLICY.replace(b"quorum replicas", b"group g0 3 r0 r1 r2\n" + nested + b"quorum g30")
        deep = deep.replace(b"group replicas 3 r0 r1 r2 r3\n", b"")
        self.assertEqual(judge(deep), "policy-nesting")
        deep = deep.replace(b"group g32 1 g31\n", b"")
        self.assertEqual(judge(deep), "verified: 3 of 3 replicas, entry 5")


WEAK = [
    "00" * 32, "01" + "00" * 31, "00" * 31 + "80", "01" + "00" * 30 + "80",
    "ec" + "ff" * 30 + "7f", "ec" + "ff" * 31, "ed" + "ff" * 30 + "7f", "ed" + "ff" * 31,
    "ee" + "ff" * 30 + "7f", "ee" + "ff" * 31,
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
]


def vkey(name, kind, key):
    material = bytes([kind]) + key
    identity = hashlib.sha256(name + b"\n" + material).digest()[:4]
    text = b"%s+%s+%s" % (name, identity.hex().encode(), base64.b64encode(material))
    return identity, text


class Signatures(unittest.TestCase):
    """A fifth witness, whose key is here, cosigns the example's head; all five are asked."""

    def setUp(self):
        self.key = Ed25519PrivateKey.generate()
        self.name = b"org-e.example/r4"
        self.identity, text = vkey(self.name, 4, self.key.public_key().public_bytes_raw())
        policy = replaced(POLICY, b"group ", b"witness r4 %s\ngroup " % text)
        self.policy = Policy(replaced(policy, b"3 r0 r1 r2 r3", b"4 r0 r1 r2 r3 r4"))
        encoded = re.search(rb"Quorate-Proof: :(.*):\r\n", RESPONSE)[1]
        self.encoded, self.proof = encoded, base64.b64decode(encoded)
        self.head = self.proof.split(b"\n\n")[1] + b"\n"

    def judge(self, proof):
        response = replaced(RESPONSE, self.encoded, base64.b64encode(proof))
        return judge(self.policy, response=response)

    def line(self, data, name=None, identity=None):
        encoded = base64.b64encode((identity or self.identity) + data)
        return "— ".encode() + (name or self.name) + b" " + encoded + b"\n"

    def cosigned(self, time=1, head=None):
        message = b"cosignature/v1\ntime %d\n" % time + (head or self.head)
        return time.to_bytes(8, "big") + self.key.sign(message)

    def test_a_quorum_of_distinct_signers_is_needed(self):
        four = "verified: 4 of 5 replicas, entry 5"
        right, last = self.line(self.cosigned()), self.proof.splitlines(True)[-1]
        log = self.proof.splitlines(True)[-4]
        for proof, outcome in [
            (self.proof, "quorum-missing"),
            (self.proof + last, "quorum-missing"),
            (self.proof + right, four),
            (self.proof + right + right, four),
            (self.proof.replace(last, b"") + right + self.line(self.cosigned(2)), "quorum-missing"),
            (self.proof.replace(log, b"") + right, "log-signature-missing"),
            (self.proof + right + self.line(b"x", name=b"stranger"), four),
            (self.proof + right + self.line(b"x", identity=b"abcd"), four),
            (self.proof + right + self.line(b"x"), "signature-wrong"),
            (self.proof + right + self.line(self.cosigned() + b"x"), "signature-wrong"),
            (self.proof + right + self.line(self.cosigned(head=b"x")), "signature-wrong"),
            (self.proof + self.line(self.cosigned(2**63 - 1)), four),
            (self.proof + self.line(self.cosigned(2**63)), "signature-wrong"),
            (self.proof + right + b"\n", "checkpoint-malformed"),
            (self.proof + right[:-1], "checkpoint-malformed"),
            (replaced(self.proof, b"@v1\n", b"@v1\nextra AAAA\n") + right, "proof-malformed"),
            (replaced(self.proof, b"index 5", b"index 05") + right, "proof-malformed"),
            (replaced(self.proof, b"\n7\n", b"\n7\nmore\n") + right, "checkpoint-malformed"),
            (replaced(self.proof, b"\n7\n", b"\n5\n") + right, "index-beyond-head"),
            (replaced(self.proof, b"\nshop", b"\nstop") + right, "origin-differs"),
            (self.proof + right + self.line(b"x", name=b"stranger") * 252, "checkpoint-malformed"),
        ]:
            self.assertEqual(self.judge(proof), outcome, proof[-200:])

    def test_large_s_and_weak_points_are_refused(self):
        data = self.cosigned()
        s = int.from_bytes(data[40:], "little") + L
        self.assertEqual(
            self.judge(self.proof + self.line(data[:40] + s.to_bytes(32, "little"))),
            "signature-wrong",
        )
        for point in map(bytes.fromhex, WEAK):
            wrong = self.line(data[:8] + point + data[40:])
            self.assertEqual(self.judge(self.proof + wrong), "signature-wrong", point.hex())

    def test_weak_keys_are_refused_even_where_nothing_uses_them(self):
        beyond, none = "f0" + "ff" * 30 + "7f", "02" + "00" * 31
        for key in [*WEAK, beyond, none]:
            line = b"witness weak %s\n" % vkey(b"weak.example", 4, bytes.fromhex(key))[1]
            self.assertEqual(judge(POLICY + line), "key-weak", key)


if __name__ == "__main__":
    unittest.main()
