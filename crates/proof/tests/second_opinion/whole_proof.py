"""Judges saved exchanges by a policy: a second implementation, on the `cryptography` package.

Reads one JSON object a line, {"policy": .., "request": .., "response": ..} in base64, and answers
one JSON object a line, {"signers": 3, "replicas": 4, "index": 5, "fresh": true} or {"refused": ..}.
"""

import base64
import functools
import hashlib
import json
import re
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TOKEN = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
REQUEST = """content-type accept accept-language authorization cookie if-match if-none-match
    idempotency-key""".split()
RESPONSE = "content-type etag location cache-control set-cookie quorate-covers".split()
P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


class Refused(Exception):
    pass


def need(condition, reason):
    if not condition:
        raise Refused(reason)


def sha(data):
    return hashlib.sha256(data).digest()


def unbase64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Refused("base64")
    need(base64.b64encode(data) == text, "base64 is not canonical")
    return data


def number(text):
    need(re.fullmatch(rb"0|[1-9][0-9]*", text) and int(text) < 2**63, "number")
    return int(text)


# Points, in plain arithmetic.


def add(a, b):
    (x1, y1), (x2, y2) = a, b
    k = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + k, -1, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - k, -1, P)
    return x % P, y % P


@functools.lru_cache(maxsize=None)
def sound(encoded):
    """A canonical encoding of a point that is not of small order."""
    value = int.from_bytes(encoded, "little")
    sign, y = value >> 255, value & (2**255 - 1)
    if y >= P:
        return False
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square or (x == 0 and sign):
        return False
    if x & 1 != sign:
        x = P - x
    point = (x, y)
    for _ in range(3):
        point = add(point, point)
    return point != (0, 1)


def signed(key, message, signature):
    if not sound(signature[:32]):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


# The policy.


class Policy:
    def __init__(self, text):
        need(text.endswith(b"\n"), "policy without final newline")
        need(not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", text), "control in the policy")
        try:
            text.decode()
        except UnicodeDecodeError:
            raise Refused("policy is not UTF-8")
        self.keys, self.names, self.origin, self.quorum = {}, {}, None, None
        seen, members, cosigners = set(), set(), set()
        for line in text[:-1].split(b"\n"):
            words = [word for word in re.split(rb"[ \t]+", line) if word]
            if not words or words[0].startswith(b"#"):
                continue
            if words[0] == b"log" and len(words) in (2, 3):
                name = self.key(words[1], 1, seen)[0]
                pattern = rb"[!-*,-.0-@\[-~]+/quorate/[0-9a-f]{16}/(bft|hybrid)"
                need(re.fullmatch(pattern, name), "origin")
                need(self.origin in (None, name), "two origins")
                self.origin = name
            elif words[0] == b"witness" and len(words) in (3, 4):
                key = self.key(words[2], 4, seen)
                need(key[0] not in cosigners, "two cosigners of a name")
                cosigners.add(key[0])
                self.define(words[1], (0, 0, [key]))
            elif words[0] == b"group" and len(words) >= 4:
                for member in words[3:]:
                    need(member in self.names and member not in members, "member")
                    members.add(member)
                parts = [self.names[member] for member in words[3:]]
                count = {b"any": 1, b"all": len(parts)}.get(words[2]) or number(words[2])
                need(1 <= count <= len(parts), "threshold")
                depth = 1 + max(part[0] for part in parts)
                need(depth <= 32, "nesting")
                self.define(words[1], (depth, count, parts))
            elif words[0] == b"quorum" and len(words) == 2:
                need(self.quorum is None and words[1] in self.names, "quorum")
                self.quorum = self.names[words[1]]
            else:
                raise Refused("policy line")
        need(self.origin and self.quorum, "no log or no quorum")

    def define(self, name, value):
        need(name != b"none" and name not in self.names, "name")
        self.names[name] = value

    def key(self, text, kind, seen):
        parts = text.split(b"+", 2)
        need(len(parts) == 3, "verifier key")
        name, stated, material = parts[0], parts[1], unbase64(parts[2])
        need(name and not re.search(r"\s", name.decode()), "key name")
        need(len(material) == 33 and material[0] == kind, "key type")
        need(sound(material[1:]), "weak key")
        need(material[1:] not in seen, "key twice")
        seen.add(material[1:])
        identity = sha(name + b"\n" + material)[:4]
        need(identity.hex().encode() == stated, "key id")
        need((name, identity) not in self.keys, "key id twice")
        self.keys[name, identity] = (kind, material[1:])
        return name, identity

    def count(self, part, valid):
        depth, threshold, parts = part
        if depth == 0:
            return int(parts[0] in valid), 1, parts[0] in valid
        results = [self.count(part, valid) for part in parts]
        met = sum(result[2] for result in results) >= threshold
        return sum(r[0] for r in results), sum(r[1] for r in results), met


# The files.


class Message:
    def __init__(self, data):
        head, separator, self.body = data.partition(b"\r\n\r\n")
        need(separator, "no end of header")
        lines = head.split(b"\r\n")
        self.start, self.fields = lines[0], {}
        need(not any(re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", line) for line in lines), "control")
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            need(colon and TOKEN.fullmatch(name), "header line")
            values = self.fields.setdefault(name.decode().lower(), [])
            values.append(value.strip(b" \t"))
        need("transfer-encoding" not in self.fields, "transfer coding")
        need("content-encoding" not in self.fields, "content coding")

    def one(self, name):
        values = self.fields.get(name, [])
        need(len(values) < 2, "repeated " + name)
        return values[0] if values else None

    def check_length(self):
        length = self.one("content-length")
        need(len(self.body) == (0 if length is None else number(length)), "content length")

    def own(self, name):
        value = self.one("quorate-" + name)
        need(value is not None, "no " + name)
        return value


def coverage(response):
    request_names, response_names = list(REQUEST), list(RESPONSE)
    covers = response.one("quorate-covers")
    late = False
    for item in [] if covers is None else covers.split(b", "):
        match = re.fullmatch(rb"([a-z0-9!#$%&'*+.^_`|~-]+)(;req)?", item)
        need(match, "covers")
        name = match[1].decode()
        need(not name.startswith("quorate-") and name != "content-digest", "covers what is ours")
        side = request_names if match[2] else response_names
        need(name not in side and not (match[2] and late), "covers twice or late")
        late = late or not match[2]
        side.append(name)
    return request_names, response_names


def digest(content):
    return b"sha-256=:" + base64.b64encode(sha(content)) + b":"


def exchange(authority, request, response):
    match = re.fullmatch(rb"(\S+) (/[!-~]*) HTTP/1\.1", request.start)
    need(match and TOKEN.fullmatch(match[1]) and b"#" not in match[2], "request line")
    path, question, query = match[2].partition(b"?")
    status = re.fullmatch(rb"HTTP/1\.1 ([2-5][0-9][0-9]) .*", response.start, re.DOTALL)
    need(status, "status line")
    need(request.one("host") is not None, "host")
    request.check_length()
    if match[1] == b"HEAD" or status[1] in (b"204", b"304"):
        response.one("content-length")
        need(response.body == b"", "content")
    else:
        response.check_length()
    request_names, response_names = coverage(response)
    need("content-range" not in request.fields, "range")
    need("content-range" not in response.fields or "content-range" in response_names, "range")
    need(request.one("content-digest") in (None, digest(request.body)), "request digest")
    need(response.one("content-digest") == digest(response.body), "response digest")
    lines = [
        (b'"@method";req', match[1]),
        (b'"@authority";req', authority),
        (b'"@path";req', path),
        (b'"@query";req', b"?" + query),
    ]
    for name in request_names:
        if name in request.fields:
            lines.append((b'"%s";req' % name.encode(), request.one(name)))
    lines.append((b'"content-digest";req', digest(request.body)))
    lines.append((b'"@status"', status[1]))
    for name in response_names:
        if name == "set-cookie" and name in response.fields:
            for value in response.fields[name]:
                need(re.fullmatch(rb"[\t -~]*", value), "not ASCII")
            wrapped = [b":" + base64.b64encode(value) + b":" for value in response.fields[name]]
            lines.append((b'"set-cookie";bs', b", ".join(wrapped)))
        elif name in response.fields:
            lines.append((b'"%s"' % name.encode(), response.one(name)))
    lines.append((b'"content-digest"', digest(response.body)))
    need(all(re.fullmatch(rb"[\t -~]*", value) for _, value in lines), "not ASCII")
    text = b"".join(name + b": " + value + b"\n" for name, value in lines)
    names = b" ".join(name for name, _ in lines)
    text += b'"@signature-params": (' + names + b');tag="quorate-exchange/1"'
    need(len(text) <= 65535, "exchange too long")
    return text


# The proof.


def root_of(leaf, index, size, path):
    """RFC 9162, section 2.1.3.2."""
    place, last, root = index, size - 1, leaf
    for sibling in path:
        need(last, "path too long")
        if place & 1 or place == last:
            root = sha(b"\x01" + sibling + root)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            root = sha(b"\x01" + root + sibling)
        place, last = place >> 1, last >> 1
    need(last == 0, "path too short")
    return root


def check_note(policy, head, lines):
    need(1 <= len(lines) <= 256, "signature lines")
    text, valid, logged = b"".join(line + b"\n" for line in head), set(), False
    for line in lines:
        match = re.fullmatch("— ([^\\s+]+) (\\S+)".encode(), line)
        need(match, "signature line")
        name = match[1].decode()
        need(not re.search(r"[\s\x00-\x1f]", name), "key name")
        data = unbase64(match[2])
        need(len(data) > 4, "signature")
        kind, key = policy.keys.get((match[1], data[:4]), (None, None))
        if kind == 1:
            need(len(data) == 68 and signed(key, text, data[4:]), "log signature")
            logged = True
        elif kind == 4:
            time = int.from_bytes(data[4:12], "big")
            need(len(data) == 76 and time < 2**63, "cosignature")
            message = b"cosignature/v1\ntime %d\n" % time + text
            need(signed(key, message, data[12:]), "cosignature")
            valid.add((match[1], data[:4]))
    need(logged, "no log signature")
    signers, replicas, met = policy.count(policy.quorum, valid)
    need(met, "no quorum")
    return signers, replicas


def judge(policy, request, response):
    policy, request, response = Policy(policy), Message(request), Message(response)
    text = exchange(policy.origin.split(b"/")[0], request, response)
    index = number(response.own("index"))
    salt = re.fullmatch(rb":([^:]*):", response.own("salt"))
    need(salt and len(unbase64(salt[1])) == 16, "salt")
    state = re.fullmatch(rb"sha-256=:([^:]*):", response.own("state"))
    need(state and len(unbase64(state[1])) == 32, "state")
    entry = b"quorate-exchange/1\nindex %d\nepoch %d\ntime %d\nstate %s\nexchange %s\n" % (
        index,
        number(response.own("epoch")),
        number(response.own("time")),
        response.own("state"),
        digest(unbase64(salt[1]) + text),
    )
    proof = re.fullmatch(rb":([^:]*):", response.own("proof"))
    need(proof, "proof")
    proof = unbase64(proof[1])
    try:
        proof.decode()
    except UnicodeDecodeError:
        raise Refused("proof is not UTF-8")
    need(len(proof) <= 65536 and proof.endswith(b"\n"), "proof form")
    need(not re.search(rb"[\x00-\x09\x0b-\x1f]", proof), "control in the proof")
    lines = proof[:-1].split(b"\n")
    need(lines[:2] == [b"c2sp.org/tlog-proof@v1", b"index %d" % index], "proof front")
    need(b"" in lines, "proof form")
    end = lines.index(b"")
    path = [unbase64(line) for line in lines[2:end]]
    need(len(path) <= 63 and all(len(node) == 32 for node in path), "path")
    head, rest = lines[end + 1 : end + 4], lines[end + 4 :]
    need(len(head) == 3 and rest[:1] == [b""], "head form")
    need(head[0] == policy.origin, "origin")
    size, root = number(head[1]), unbase64(head[2])
    need(index < size, "beyond the head")
    need(root_of(sha(b"\x00" + entry), index, size, path) == root, "not in the log")
    signers, replicas = check_note(policy, head, rest[1:])
    key = request.one("idempotency-key")
    fresh = key is not None and bool(re.fullmatch(rb'"([ !#-\[\]-~]|\\["\\])*"', key))
    return {"signers": signers, "replicas": replicas, "index": index, "fresh": fresh}


for case in sys.stdin:
    case = {name: base64.b64decode(value) for name, value in json.loads(case).items()}
    try:
        answer = judge(case["policy"], case["request"], case["response"])
    except Refused as reason:
        answer = {"refused": str(reason)}
    print(json.dumps(answer))
