"""Verifies what a Quorate service answered: the standard library, and `cryptography` for Ed25519.

    policy = Policy(open("policy.txt", "rb").read())
    request = parse_request(open("request.http", "rb").read())
    response = parse_response(open("response.http", "rb").read(), request.method)
    verdict = verify(policy, request, response)

docs/proof.md explains every step. Whatever is wrong is raised as NotVerified, with a `code` that
`quorate explain` knows. Text is bytes throughout, as it came over the wire.
"""

import base64
import binascii
import functools
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

REQUEST_FIELDS = [
    b"content-type", b"accept", b"accept-language", b"authorization", b"cookie", b"if-match",
    b"if-none-match", b"idempotency-key",
]
RESPONSE_FIELDS = [
    b"content-type", b"etag", b"location", b"cache-control", b"set-cookie", b"quorate-covers",
]
TOKEN = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
LOG, COSIGNER = 1, 4


class NotVerified(Exception):
    """Nothing may be believed; `code` is a stable word, the message one sentence for a person."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def need(condition, code, message):
    if not condition:
        raise NotVerified(code, message)


@dataclass
class Request:
    """A request as it was sent; `query` is b"?" and the rest, b"?" alone where there is none."""

    method: bytes
    path: bytes
    query: bytes
    fields: list  # of (name, value)
    body: bytes = b""


@dataclass
class Response:
    """A response as it came."""

    status: int
    fields: list  # of (name, value)
    body: bytes = b""


@dataclass
class Verdict:
    """A quorum stands behind an answer. `str` gives the line that `quorate verify` prints."""

    signers: int
    replicas: int
    names: list  # of the cosigners
    index: int
    epoch: int
    time: int  # in Unix milliseconds
    state: bytes
    size: int
    root: bytes
    fresh: bool  # The request held a key, so that this is no answer to an older one.
    development: bool  # The policy's keys protect nothing.

    def __str__(self):
        fresh = "" if self.fresh else ", not fresh"
        development = " (development keys)" if self.development else ""
        signed = f"{self.signers} of {self.replicas} replicas"
        return f"verified{fresh}: {signed}, entry {self.index}{development}"


def verify(policy, request, response):
    """Checks that a quorum of the policy answered this request with this response."""
    covers = single(response.fields, b"quorate-covers")
    more_asked, more_answered = ([], []) if covers is None else coverage(covers)
    lines = request_lines(request, policy.authority, more_asked)
    lines += response_lines(request, response, more_answered)
    index, epoch, time = (own_number(response.fields, name) for name in ("index", "epoch", "time"))
    state = required(response.fields, b"quorate-state")
    sized(state[8:] if state.startswith(b"sha-256=") else b"", 32, "quorate-state")
    salt = sized(required(response.fields, b"quorate-salt"), 16, "quorate-salt")
    entry = b"quorate-exchange/1\nindex %d\nepoch %d\ntime %d\nstate %s\nexchange %s\n" % (
        index, epoch, time, state, digest(salt + exchange(response.status, lines)),
    )
    proof = Proof(required(response.fields, b"quorate-proof"))
    need(proof.index == index, "index-differs", f"the proof is for entry {proof.index}")
    root = root_of(sha256(b"\x00" + entry), proof)
    need(root == proof.root, "not-in-log", "what was answered is not what was agreed")
    names, replicas = signers_of(policy, proof)
    key = single(request.fields, b"idempotency-key")
    return Verdict(
        signers=len(names), replicas=replicas, names=names, index=index, epoch=epoch, time=time,
        state=state, size=proof.size, root=root, development=policy.development,
        fresh=key is not None and bool(re.fullmatch(rb'"([ !#-\[\]-~]|\\["\\])*"', key)),
    )


# The exchange.


def request_lines(request, authority, more):
    method, path, query, fields = request.method, request.path, request.query, request.fields
    need(TOKEN.fullmatch(method), "request-method", "the method is not a token")
    need(re.fullmatch(rb'/[!-"$->@-~]*', path), "request-path", "the path is not in origin form")
    need(re.fullmatch(rb'\?[!-"$-~]*', query), "request-query", "the query is not raw ASCII")
    check_whole(fields, more=[])
    body = digest(request.body)
    stated = single(fields, b"content-digest")
    need(stated in (None, body), "content-digest-wrong", "the request's Content-Digest is wrong")
    lines = [
        (b'"@method";req', method),
        (b'"@authority";req', authority),
        (b'"@path";req', path),
        (b'"@query";req', query),
    ]
    for name in REQUEST_FIELDS + more:
        value = single(fields, name)
        if value is not None:
            lines.append((b'"%s";req' % name, value))
    return lines + [(b'"content-digest";req', body)]


def response_lines(request, response, more):
    check_whole(response.fields, more)
    content = has_content(request.method, response.status) or not response.body
    need(content, "content-unexpected", "content where HEAD, 204 and 304 have none")
    body = digest(response.body)
    stated = required(response.fields, b"content-digest")
    need(stated == body, "content-digest-wrong", "the response's Content-Digest is wrong")
    lines = [(b'"@status"', b"%d" % response.status)]
    for name in RESPONSE_FIELDS + more:
        if name == b"set-cookie":
            # Its field lines stay apart, each a byte sequence (RFC 9421, section 2.1.3).
            cookies = [covered(name, value) for value in every(response.fields, name)]
            if cookies:
                wrapped = [b":" + base64.b64encode(value) + b":" for value in cookies]
                lines.append((b'"set-cookie";bs', b", ".join(wrapped)))
        elif (value := single(response.fields, name)) is not None:
            lines.append((b'"%s"' % name, value))
    return lines + [(b'"content-digest"', body)]


def check_whole(fields, more):
    coded = single(fields, b"content-encoding")
    need(coded is None, "content-coded", "a coded content cannot be checked")
    part = every(fields, b"content-range") and b"content-range" not in more
    need(not part, "content-partial", "a part of a content cannot be checked")


def covered(name, value):
    right = re.fullmatch(rb"[\t -~]*", value)
    need(right, "field-value", f"{name.decode()} is not trimmed ASCII")
    return value


def exchange(status, lines):
    need(200 <= status <= 599, "response-status", f"status {status} is not a final response's")
    text = b"".join(b"%s: %s\n" % (name, covered(name, value)) for name, value in lines)
    names = b" ".join(name for name, _ in lines)
    text += b'"@signature-params": (%s);tag="quorate-exchange/1"' % names
    need(len(text) <= 65535, "exchange-too-long", f"the exchange has {len(text)} bytes")
    return text


def coverage(value):
    """`x-api-key;req, x-total`: the service's own further fields, of request and response."""
    asked, answered = [], []
    for item in value.split(b", "):
        if item.endswith(b";req"):
            need(not answered, "covers-order", "a request field stands after a response field")
            asked.append(item[:-4])
        else:
            answered.append(item)
    for names, always in (asked, REQUEST_FIELDS), (answered, RESPONSE_FIELDS):
        for at, name in enumerate(names):
            right = TOKEN.fullmatch(name) and name == name.lower()
            need(right, "covers-name", "not a field name in lower case")
            ours = name.startswith(b"quorate-") or name == b"content-digest" or name in always
            need(not ours, "covers-reserved", "covered already, or not the service's to cover")
            need(name not in names[:at], "covers-twice", "a field is named twice")
    return asked, answered


# The proof.


class Proof:
    """The tlog-proof in `Quorate-Proof`."""

    def __init__(self, value):
        data = byte_sequence(value)
        need(data is not None, "field-malformed", "the field quorate-proof is malformed")
        is_utf8(data, "field-malformed", "the field quorate-proof is malformed")
        need(len(data) <= 65536, "proof-too-long", "the proof has more than 64 KiB")
        front, separator, note = data.partition(b"\n\n")
        lines = front.split(b"\n")
        right = separator and lines[0] == b"c2sp.org/tlog-proof@v1" and len(lines) > 1
        need(right and lines[1].startswith(b"index "), "proof-malformed", "not a tlog-proof")
        self.index = number(lines[1][6:])
        self.path = [unbase64(line) for line in lines[2:]]
        right = self.index is not None and len(self.path) <= 63
        right = right and all(node is not None and len(node) == 32 for node in self.path)
        need(right, "proof-malformed", "not a tlog-proof")
        self.read_note(note)
        need(self.index < self.size, "index-beyond-head", "the index is beyond the head")

    def read_note(self, note):
        """A C2SP checkpoint: the head's three lines, an empty one, and signature lines."""

        def form(right):
            need(right, "checkpoint-malformed", "not a signed head of three lines")

        head, separator, rest = note.partition(b"\n\n")
        lines = head.split(b"\n")
        form(separator and rest.endswith(b"\n") and len(lines) == 3 and is_key_name(lines[0]))
        self.head, self.origin = head + b"\n", lines[0]
        self.size, self.root = number(lines[1]), unbase64(lines[2])
        form(self.size is not None and self.root is not None and len(self.root) == 32)
        self.signatures = []
        for line in rest[:-1].split(b"\n"):
            name, _, encoded = line.removeprefix("— ".encode()).partition(b" ")
            data = unbase64(encoded)
            form(line.startswith("— ".encode()) and is_key_name(name) and data and len(data) > 4)
            self.signatures.append((name, data[:4], data[4:]))
        form(len(self.signatures) <= 256)


def root_of(leaf, proof):
    """RFC 9162, section 2.1.3.2; None where the path does not fit the place and the size."""
    place, last, root = proof.index, proof.size - 1, leaf
    for sibling in proof.path:
        if last == 0:
            return None
        if place & 1 or place == last:
            root = sha256(b"\x01" + sibling + root)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            root = sha256(b"\x01" + root + sibling)
        place, last = place >> 1, last >> 1
    return root if last == 0 else None


def signers_of(policy, proof):
    """The head is the policy's log's, signed by one log key and by a quorum."""
    need(proof.origin == policy.origin, "origin-differs", "the head is that of another log")
    signed, logged = set(), False
    for name, identity, data in proof.signatures:
        # Lines of others are passed over; a wrong line of a key that is known condemns the head.
        kind, key = policy.keys.get((name, identity), (None, None))
        if kind == LOG:
            right = len(data) == 64 and is_signed(key, proof.head, data)
            logged = True
        elif kind == COSIGNER:
            time = int.from_bytes(data[:8], "big")
            message = b"cosignature/v1\ntime %d\n" % time + proof.head
            right = len(data) == 72 and time < 2**63 and is_signed(key, message, data[8:])
            signed.add(key)
        need(kind is None or right, "signature-wrong", f"the signature of {name!r} is wrong")
    need(logged, "log-signature-missing", "no log of the policy signed the head")
    asked = policy.quorum.witnesses()
    names = [name.decode() for name, key in asked if key in signed]
    few = f"{len(names)} of {len(asked)} replicas signed, which is no quorum of the policy"
    need(policy.quorum.is_met(signed), "quorum-missing", few)
    return names, len(asked)


# The policy.


@dataclass
class Witness:
    name: bytes
    key: bytes
    depth = 0

    def is_met(self, signed):
        return self.key in signed

    def witnesses(self):
        return [(self.name, self.key)]


@dataclass
class Group:
    threshold: int
    members: list
    depth: int

    def is_met(self, signed):
        return sum(member.is_met(signed) for member in self.members) >= self.threshold

    def witnesses(self):
        return [witness for member in self.members for witness in member.witnesses()]


class Policy:
    """Whose signatures count: a C2SP tlog-policy, read strictly."""

    def __init__(self, text):
        need(len(text) <= 1 << 20, "policy-too-long", "the policy has more than 1 MiB")
        plain = text.endswith(b"\n") and not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", text)
        need(plain, "policy-malformed", "the policy is not lines of text")
        is_utf8(text, "policy-malformed", "the policy is not lines of text")
        self.origin, self.quorum = None, None
        self.keys = {}  # of (name, id) to (type, key)
        self.names, self.taken, self.cosigners, self.count = {}, set(), set(), {}
        for line in text[:-1].split(b"\n"):
            words = [word for word in re.split(rb"[ \t]+", line) if word]
            if words and not words[0].startswith(b"#"):
                self.read(words)
        need(self.origin is not None, "policy-no-log", "the policy names no log")
        need(self.quorum is not None, "policy-quorum", "the policy names no quorum")

    @property
    def authority(self):
        """NAME of the origin, which stands for the authority in every exchange."""
        return self.origin.split(b"/")[0]

    @property
    def development(self):
        return re.sub(rb":[0-9]*\Z", b"", self.authority).endswith(b".localhost")

    def read(self, words):
        shape = words[0], len(words)
        if shape in ((b"log", 2), (b"log", 3)):
            name, _ = self.read_key(words[1], LOG)
            form = rb"[!-*,-.0-@\[-~]+/quorate/[0-9a-f]{16}/(bft|hybrid)"
            right = re.fullmatch(form, name) and self.origin in (None, name)
            need(right, "policy-origin", "a log's name is not the one origin")
            self.origin = name
        elif shape in ((b"witness", 3), (b"witness", 4)):
            name, key = self.read_key(words[2], COSIGNER)
            need(name not in self.cosigners, "policy-name", "a cosigner's name stood before")
            self.cosigners.add(name)
            self.define(words[1], Witness(name, key))
        elif words[0] == b"group" and len(words) >= 4:
            self.define(words[1], self.group(words[2], words[3:]))
        elif shape == (b"quorum", 2):
            need(words[1] in self.names, "policy-unknown-name", "an unknown name, or `none`")
            need(self.quorum is None, "policy-quorum", "a second quorum")
            self.quorum = self.names[words[1]]
        else:
            need(False, "policy-malformed", "none of log, witness, group and quorum")
        self.count[words[0]] = self.count.get(words[0], 0) + 1
        need(self.count[words[0]] <= 1024, "policy-too-many", "more than 1024 lines of a kind")

    def define(self, name, value):
        right = name != b"none" and name not in self.names
        need(right, "policy-name", "a name that stood before, or is reserved")
        self.names[name] = value

    def group(self, stated, names):
        threshold = {b"any": 1, b"all": len(names)}.get(stated, number(stated))
        right = threshold is not None and 1 <= threshold <= len(names)
        need(right, "policy-threshold", "the threshold cannot be met, or asks for nothing")
        for name in names:
            need(name in self.names, "policy-unknown-name", "an unknown name, or `none`")
            need(name not in self.taken, "policy-member-twice", "a member of a group already")
            self.taken.add(name)
        members = [self.names[name] for name in names]
        depth = 1 + max(member.depth for member in members)
        need(depth <= 32, "policy-nesting", "groups nest too deeply")
        return Group(threshold, members, depth)

    def read_key(self, text, kind):
        """`NAME+ID+BASE64`: a sound key of the kind asked for, that stood nowhere before."""
        name, stated, encoded = (text.split(b"+", 2) + [b"", b""])[:3]
        material = unbase64(encoded)
        right = is_key_name(name) and material
        need(right, "key-malformed", "not a verifier key of the form NAME+ID+BASE64")
        need(material[0] in (LOG, COSIGNER), "key-type", "a key of another type")
        need(len(material) == 33, "key-malformed", "not an Ed25519 key")
        identity, key = sha256(name + b"\n" + material)[:4], material[1:]
        need(stated == identity.hex().encode(), "key-id", "the verifier key's id is wrong")
        need(material[0] == kind, "key-type", "a key of the wrong type")
        need(is_sound(key), "key-weak", "a weak key")
        fresh = (name, identity) not in self.keys and all(key != k for _, k in self.keys.values())
        need(fresh, "key-twice", "a key that stood before")
        self.keys[name, identity] = kind, key
        return name, key


# Saved files.


def parse_request(file):
    """Reads `request.http`."""
    start, fields, body = message(file)
    form = rb'([!#$%&\'*+.^_`|~A-Za-z0-9-]+) (/[!-"$->@-~]*)(\?[!-"$-~]*)? HTTP/1\.1'
    match = re.fullmatch(form, start)
    need(match, "file-start-line", "the request line is not one of HTTP/1.1 in origin form")
    need(len(every(fields, b"host")) == 1, "file-host", "a request has exactly one Host")
    check_length(fields, body)
    return Request(match[1], match[2], match[3] or b"?", fields, body)


def parse_response(file, method):
    """Reads `response.http`, the answer to a request with this method."""
    start, fields, body = message(file)
    match = re.match(rb"HTTP/1\.1 ([0-9]{3}) ", start)
    need(match, "file-start-line", "the status line is not one of HTTP/1.1")
    status = int(match[1])
    need(not 100 <= status <= 199, "file-interim", "an interim response was saved")
    need(200 <= status <= 599, "file-start-line", f"no status: {status}")
    if has_content(method, status):
        check_length(fields, body)
    else:
        right = not body and len(every(fields, b"content-length")) <= 1
        need(right, "file-content-length", "Content-Length does not fit the content")
    return Response(status, fields, body)


def message(file):
    head, separator, body = file.partition(b"\r\n\r\n")
    need(separator, "file-truncated", "the header section does not end")
    start, *lines = head.split(b"\r\n")
    plain = not any(re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", line) for line in [start, *lines])
    need(plain, "file-header-line", "a header line is malformed")
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        right = colon and TOKEN.fullmatch(name)
        need(right, "file-header-line", "a header line is malformed")
        fields.append((name, value))
    coded = every(fields, b"transfer-encoding")
    need(not coded, "file-transfer-encoding", "Transfer-Encoding has no place in a saved file")
    return start, fields, body


def check_length(fields, body):
    values = every(fields, b"content-length")
    length = number(values[0]) if values else 0
    right = len(values) <= 1 and length == len(body)
    need(right, "file-content-length", "Content-Length does not fit the content")


# Ed25519, by the strict rule.

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
EIGHTH = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL_ORDER = {0, 1, P - 1, EIGHTH, P - EIGHTH}  # the heights of the eight points


@functools.lru_cache(maxsize=4096)
def is_sound(encoded):
    """The one encoding of a point of the curve that is not of small order."""
    y = int.from_bytes(encoded, "little") & (2**255 - 1)
    if y >= P or y in SMALL_ORDER:
        return False
    # x^2 = (y^2 - 1) / (d y^2 + 1) has a root exactly when the product of both sides has one.
    return pow((y * y - 1) * (D * y * y + 1), (P - 1) // 2, P) == 1


def is_signed(key, message, signature):
    """Libraries disagree about weak points and large S, so these are looked at here."""
    if not is_sound(signature[:32]) or int.from_bytes(signature[32:], "little") >= L:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


# Small forms.


def sha256(data):
    return hashlib.sha256(data).digest()


def digest(content):
    return b"sha-256=:" + base64.b64encode(sha256(content)) + b":"


def has_content(method, status):
    return method != b"HEAD" and status not in (204, 304)


def every(fields, name):
    """The trimmed values of all fields of a name."""
    return [value.strip(b" \t") for other, value in fields if other.lower() == name]


def single(fields, name):
    """The value of a field that stands at most once."""
    values = every(fields, name)
    need(len(values) < 2, "field-repeated", f"the field {name.decode()} is repeated")
    return values[0] if values else None


def required(fields, name):
    value = single(fields, name)
    need(value is not None, "field-missing", f"the field {name.decode()} is missing")
    return value


def own_number(fields, name):
    value = number(required(fields, b"quorate-" + name.encode()))
    need(value is not None, "field-malformed", f"the field quorate-{name} is malformed")
    return value


def sized(value, length, name):
    data = byte_sequence(value)
    right = data is not None and len(data) == length
    need(right, "field-malformed", f"the field {name} is malformed")
    return data


def number(text):
    """A decimal below 2^63 without leading zeros, signs or blanks."""
    value = int(text) if re.fullmatch(rb"0|[1-9][0-9]{0,18}", text) else 2**63
    return value if value < 2**63 else None


def unbase64(text):
    """Standard base64 in its one spelling, padded, with pad bits zero; else None."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data) == text else None


def byte_sequence(value):
    """`:..:`, a byte sequence of RFC 8941."""
    return unbase64(value[1:-1]) if re.fullmatch(rb":[^:]*:", value) else None


def is_key_name(name):
    """Not empty, no blank of Unicode's, no `+`, no control character."""
    return bool(re.fullmatch(r"[^\s+\x00-\x1f]+", name.decode()))


def is_utf8(data, code, message):
    try:
        data.decode()
    except UnicodeDecodeError:
        raise NotVerified(code, message) from None
