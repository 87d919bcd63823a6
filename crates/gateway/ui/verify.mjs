// Verifies what a Quorate service answered, in a browser or in Node 20 and later, with WebCrypto
// alone: one file, no dependencies, no network. docs/proof.md explains every step.
//
//   import { verify } from "./verify.mjs";
//   const verdict = await verify({ policy, request, response });
//
// `policy` is the policy's text, or what `parsePolicy` made of it. `request` and `response` are the
// bytes of saved HTTP/1.1 files, or objects:
//
//   request   { method, path, query, fields: [[name, value], ..], body: Uint8Array }
//   response  { status, fields: [[name, value], ..], body: Uint8Array }
//
// A query is "?" and the rest, "?" alone where there is none. Whatever is wrong is thrown as
// `NotVerified`, with a `code` that `quorate explain` knows. Have this file from somewhere else
// than from the gateway that you check: a page that a liar serves can lie about verifying, too.

/** Nothing may be believed; `code` is a stable word, `message` one sentence for a person. */
export class NotVerified extends Error {
  constructor(code, message) {
    super(message);
    this.name = "NotVerified";
    this.code = code;
  }
}

const REQUEST_FIELDS = [
  "content-type", "accept", "accept-language", "authorization", "cookie", "if-match",
  "if-none-match", "idempotency-key",
];
const RESPONSE_FIELDS = [
  "content-type", "etag", "location", "cache-control", "set-cookie", "quorate-covers",
];
const TOKEN = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;
const COVERED_VALUE = /^(?![\t ])[\t -~]*(?<![\t ])$/;
const MOST = {
  exchange: 65535, proof: 65536, policy: 1 << 20, // bytes
  path: 63, signatures: 256, nesting: 32, lines: 1024,
};

/**
 * Checks that a quorum of the policy answered this request with this response.
 *
 * Gives { verified: true, fresh, development, signers, replicas, names, index, epoch, time, state,
 * size, root }. `fresh` says that the request held a key, so that this is no answer to an older
 * one; `development` that the policy's keys protect nothing; `time` is in Unix milliseconds.
 * Numbers above 2^53 - 1 are BigInts.
 */
export async function verify({ policy, request, response }) {
  const trusted = policy instanceof Policy ? policy : await parsePolicy(policy);
  const asked = isBytes(request) ? parseRequest(request) : request;
  const answered = isBytes(response) ? parseResponse(response, asked.method) : response;
  const covers = single(answered.fields, "quorate-covers");
  const coverage = covers === undefined ? { request: [], response: [] } : parseCoverage(covers);
  const lines = [
    ...(await requestLines(asked, trusted.authority, coverage)),
    ...(await responseLines(asked, answered, coverage)),
  ];
  const facts = entryFacts(answered.fields);
  checkLines(answered.status, lines);
  const entry = await entryText(facts, lines);
  const proof = parseProof(answered.fields);
  if (proof.index !== facts.index) {
    fail("index-differs", `the proof is for entry ${proof.index}, the answer says ${facts.index}`);
  }
  const root = await rootOfPath(await sha256([0], ascii(entry)), proof);
  if (root === undefined || base64(root) !== proof.root) {
    fail("not-in-log", "the entry is not in the log: what was answered is not what was agreed");
  }
  const { signers, replicas, names } = await checkHead(trusted, proof);
  const key = single(asked.fields, "idempotency-key");
  return {
    verified: true,
    fresh: key !== undefined && /^"([ !#-[\]-~]|\\["\\])*"$/.test(key),
    development: trusted.development,
    signers, replicas, names,
    index: plain(facts.index), epoch: plain(facts.epoch), time: plain(facts.time),
    state: facts.state, size: plain(proof.size), root: proof.root,
  };
}

/** Checks a log's signed head alone: { signers, replicas, names, size, root }, or `NotVerified`. */
export async function verifyCheckpoint({ policy, checkpoint }) {
  const trusted = policy instanceof Policy ? policy : await parsePolicy(policy);
  const head = parseNote(checkpoint);
  return { ...(await checkHead(trusted, head)), size: plain(head.size), root: head.root };
}

/** A verdict as one line, as `quorate verify` prints it. */
export function sentence({ fresh, signers, replicas, index, development }) {
  const words = `verified${fresh ? "" : ", not fresh"}: ${signers} of ${replicas} replicas`;
  return `${words}, entry ${index}${development ? " (development keys)" : ""}`;
}

// ---- The exchange ----------------------------------------------------------------------------

async function requestLines(request, authority, coverage) {
  const { method, path, query, fields, body } = request;
  TOKEN.test(method) || fail("request-method", "the method is not a token");
  /^\/[!-"$->@-~]*$/.test(path) || fail("request-path", "the path is not in origin form");
  /^\?[!-"$-~]*$/.test(query) || fail("request-query", "the query is not `?` and raw ASCII");
  single(fields, "content-encoding") === undefined || coded();
  single(fields, "content-range") === undefined || partial();
  const digest = await contentDigest(body);
  const stated = single(fields, "content-digest");
  if (stated !== undefined && stated !== digest) {
    fail("content-digest-wrong", "the request's Content-Digest is not that of its content");
  }
  const lines = [
    ['"@method";req', method],
    ['"@authority";req', authority],
    ['"@path";req', path],
    ['"@query";req', query],
  ];
  for (const name of [...REQUEST_FIELDS, ...coverage.request]) {
    const value = single(fields, name);
    if (value !== undefined) lines.push([`"${name}";req`, value]);
  }
  lines.push(['"content-digest";req', digest]);
  return lines;
}

async function responseLines(request, response, coverage) {
  const { status, fields, body } = response;
  single(fields, "content-encoding") === undefined || coded();
  const names = [...RESPONSE_FIELDS, ...coverage.response];
  names.includes("content-range") || all(fields, "content-range").length === 0 || partial();
  if (!hasContent(request.method, status) && body.length > 0) {
    fail("content-unexpected", "content where HEAD, 204 and 304 have none");
  }
  const digest = await contentDigest(body);
  if (required(fields, "content-digest") !== digest) {
    fail("content-digest-wrong", "the response's Content-Digest is not that of its content");
  }
  const lines = [['"@status"', String(status)]];
  for (const name of names) {
    if (name === "set-cookie") {
      // Its field lines stay apart, each a byte sequence (RFC 9421, section 2.1.3).
      const cookies = all(fields, name).map((value) => `:${base64(ascii(covered(name, value)))}:`);
      if (cookies.length > 0) lines.push(['"set-cookie";bs', cookies.join(", ")]);
    } else {
      const value = single(fields, name);
      if (value !== undefined) lines.push([`"${name}"`, value]);
    }
  }
  lines.push(['"content-digest"', digest]);
  return lines;
}

function checkLines(status, lines) {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    fail("response-status", `status ${status} is not that of a final response`);
  }
  for (const [name, value] of lines) covered(name, value);
}

function covered(name, value) {
  return COVERED_VALUE.test(value) ? value : fail("field-value", `${name} is not trimmed ASCII`);
}

/** `x-api-key;req, x-total`: the service's own further fields. */
function parseCoverage(value) {
  const coverage = { request: [], response: [] };
  for (const item of value.split(", ")) {
    const isRequest = item.endsWith(";req");
    if (isRequest && coverage.response.length > 0) {
      fail("covers-order", `\`${item}\` stands after a response field`);
    }
    if (isRequest) coverage.request.push(item.slice(0, -4));
    else coverage.response.push(item);
  }
  for (const [names, always] of [
    [coverage.request, REQUEST_FIELDS],
    [coverage.response, RESPONSE_FIELDS],
  ]) {
    for (const [at, name] of names.entries()) {
      if (!TOKEN.test(name) || /[A-Z]/.test(name)) {
        fail("covers-name", `\`${name}\` is not a field name in lower case`);
      }
      if (/^quorate-|^content-digest$/.test(name) || always.includes(name)) {
        fail("covers-reserved", `\`${name}\` is covered already, or not the service's to cover`);
      }
      names.indexOf(name) === at || fail("covers-twice", `\`${name}\` is named twice`);
    }
  }
  return coverage;
}

// ---- The entry -------------------------------------------------------------------------------

/** Quorate's own fields, each once and in its one form. */
function entryFacts(fields) {
  const own = (name, read) => {
    const value = read(required(fields, name));
    return value ?? fail("field-malformed", `the field \`${name}\` is malformed`);
  };
  return {
    index: own("quorate-index", number),
    epoch: own("quorate-epoch", number),
    time: own("quorate-time", number),
    state: own("quorate-state", (value) => {
      const bytes = value.startsWith("sha-256=") ? byteSequence(value.slice(8)) : undefined;
      return bytes?.length === 32 ? value : undefined;
    }),
    salt: own("quorate-salt", (value) => {
      const bytes = byteSequence(value);
      return bytes?.length === 16 ? bytes : undefined;
    }),
  };
}

async function entryText({ index, epoch, time, state, salt }, lines) {
  const text = lines.map(([name, value]) => `${name}: ${value}\n`).join("");
  const names = lines.map(([name]) => name).join(" ");
  const exchange = ascii(`${text}"@signature-params": (${names});tag="quorate-exchange/1"`);
  if (exchange.length > MOST.exchange) {
    fail("exchange-too-long", `the exchange has ${exchange.length} bytes; 65,535 are allowed`);
  }
  const digest = base64(await sha256(salt, exchange));
  return `quorate-exchange/1\nindex ${index}\nepoch ${epoch}\ntime ${time}\nstate ${state}\n` +
    `exchange sha-256=:${digest}:\n`;
}

// ---- The proof -------------------------------------------------------------------------------

/** The tlog-proof in `Quorate-Proof`: { index, path, origin, size, root, head, signatures }. */
function parseProof(fields) {
  const bytes = byteSequence(required(fields, "quorate-proof"));
  const text = bytes && utf8(bytes);
  text !== undefined || fail("field-malformed", "the field `quorate-proof` is malformed");
  bytes.length <= MOST.proof || fail("proof-too-long", "the proof has more than 64 KiB");
  const form = (right) =>
    right || fail("proof-malformed", "not a tlog-proof of the form used here");
  const [front, note] = halves(text, "\n\n");
  form(note !== undefined);
  const [first, second, ...hashes] = front.split("\n");
  form(first === "c2sp.org/tlog-proof@v1" && second?.startsWith("index "));
  const index = number(second.slice(6));
  const path = hashes.map((line) => unbase64(line));
  form(index !== undefined && path.length <= MOST.path);
  form(path.every((hash) => hash?.length === 32));
  const head = parseNote(note);
  index < head.size || fail("index-beyond-head", "the proof's index is beyond its head");
  return { index, path, ...head };
}

/** A C2SP checkpoint: the head's three lines, an empty one, and signature lines. */
function parseNote(text) {
  const form = (right) => right || fail("checkpoint-malformed",
    "not a signed head: three lines, an empty one, and signature lines");
  const [head, rest] = halves(text, "\n\n");
  form(rest?.endsWith("\n"));
  const [origin, stated, root, ...more] = head.split("\n");
  const size = number(stated ?? "");
  form(isKeyName(origin) && size !== undefined && more.length === 0);
  form(unbase64(root ?? "")?.length === 32);
  const lines = rest.slice(0, -1).split("\n");
  form(lines.length <= MOST.signatures);
  const signatures = lines.map((line) => {
    const [name, encoded] = halves(line.startsWith("\u2014 ") ? line.slice(2) : "", " ");
    const bytes = unbase64(encoded ?? "");
    form(isKeyName(name) && bytes?.length > 4);
    return { name, id: hex(bytes.subarray(0, 4)), bytes: bytes.subarray(4) };
  });
  return { origin, size, root, head: `${head}\n`, signatures };
}

/** RFC 9162, section 2.1.3.2; undefined where the path does not fit the place and the size. */
async function rootOfPath(leaf, { index, size, path }) {
  let [place, last, root] = [index, size - 1n, leaf];
  for (const sibling of path) {
    if (last === 0n) return undefined;
    if (place & 1n || place === last) {
      root = await sha256([1], sibling, root);
      while (place !== 0n && !(place & 1n)) [place, last] = [place >> 1n, last >> 1n];
    } else {
      root = await sha256([1], root, sibling);
    }
    [place, last] = [place >> 1n, last >> 1n];
  }
  return last === 0n ? root : undefined;
}

/** The head is the policy's log's, signed by one log key and by a quorum. */
async function checkHead(policy, { origin, head, signatures }) {
  origin === policy.origin || fail("origin-differs", "the head is that of another log");
  const signed = new Set();
  let logged = false;
  for (const { name, id, bytes } of signatures) {
    // Lines of others are passed over; a wrong line of a key that is known condemns the head.
    const known = policy.keys.get(`${name} ${id}`);
    if (known === undefined) continue;
    const wrong = () => fail("signature-wrong", `the signature of ${name} is wrong`);
    const stamp = known.kind === LOG ? 0 : 8;
    if (bytes.length !== stamp + 64) wrong();
    const time = bytes.subarray(0, stamp).reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    if (time >= 1n << 63n) wrong();
    const message = known.kind === LOG ? head : `cosignature/v1\ntime ${time}\n${head}`;
    if (!(await isSigned(known.key, ascii(message), bytes.subarray(stamp)))) wrong();
    if (known.kind === LOG) logged = true;
    else signed.add(known);
  }
  logged || fail("log-signature-missing", "no log of the policy signed the head");
  const asked = witnessesOf(policy.quorum);
  const names = asked.filter((key) => signed.has(key)).map((key) => key.name);
  const count = { signers: names.length, replicas: asked.length, names };
  if (!isMet(policy.quorum, signed)) {
    const of = `${count.signers} of ${count.replicas} replicas signed`;
    fail("quorum-missing", `${of}, which is no quorum of the policy`);
  }
  return count;
}

// ---- The policy ------------------------------------------------------------------------------

const LOG = 1;
const COSIGNER = 4;

/** Whose signatures count: a C2SP tlog-policy, as `parsePolicy` read it. */
class Policy {
  origin = undefined;
  keys = new Map(); // "NAME ID" to { name, kind, key }
  names = new Map(); // of witnesses and groups, to { key } or { threshold, members, depth }
  quorum = undefined;

  /** NAME of the origin, which stands for the authority in every exchange. */
  get authority() {
    return this.origin.split("/")[0];
  }

  get development() {
    return this.authority.replace(/:[0-9]*$/, "").endsWith(".localhost");
  }
}

/** Reads a policy, strictly; the result can be given to `verify` many times. */
export async function parsePolicy(text) {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  bytes.length <= MOST.policy || fail("policy-too-long", "the policy has more than 1 MiB");
  const content = utf8(bytes);
  const isText = content !== undefined && (typeof text !== "string" || content === text);
  if (!isText || !content.endsWith("\n") || /[\x00-\x08\x0b-\x1f\x7f]/.test(content)) {
    fail("policy-malformed", "the policy is not lines of text");
  }
  const policy = new Policy();
  const seen = { keys: new Set(), cosigners: new Set(), members: new Set(), lines: {} };
  for (const [at, line] of content.slice(0, -1).split("\n").entries()) {
    const words = line.split(/[ \t]+/).filter((word) => word !== "");
    if (words.length === 0 || words[0].startsWith("#")) continue;
    await policyLine(policy, seen, words, (code, what) => fail(code, `line ${at + 1}: ${what}`));
  }
  policy.origin !== undefined || fail("policy-no-log", "the policy names no log");
  policy.quorum !== undefined || fail("policy-quorum", "the policy names no quorum");
  return policy;
}

async function policyLine(policy, seen, words, wrong) {
  const [kind, name, ...rest] = words;
  const define = (value) => {
    if (name === "none" || policy.names.has(name)) {
      wrong("policy-name", "a name that stood before, or is reserved");
    }
    policy.names.set(name, value);
  };
  seen.lines[kind] = (seen.lines[kind] ?? 0) + 1;
  if (kind === "log" && [2, 3].includes(words.length)) {
    const key = await policyKey(policy, seen, name, LOG, wrong);
    const isOrigin = /^[!-*,-.0-@[-~]+\/quorate\/[0-9a-f]{16}\/(bft|hybrid)$/.test(key.name);
    if (!isOrigin || (policy.origin ?? key.name) !== key.name) {
      wrong("policy-origin", "the log's name is not the one origin");
    }
    policy.origin = key.name;
  } else if (kind === "witness" && [3, 4].includes(words.length)) {
    const key = await policyKey(policy, seen, rest[0], COSIGNER, wrong);
    seen.cosigners.has(key.name) && wrong("policy-name", "a cosigner's name that stood before");
    seen.cosigners.add(key.name);
    define({ key, depth: 0 });
  } else if (kind === "group" && words.length >= 4) {
    define(policyGroup(policy, seen, rest, wrong));
  } else if (kind === "quorum" && words.length === 2) {
    policy.names.has(name) || wrong("policy-unknown-name", "an unknown name, or `none`");
    policy.quorum === undefined || wrong("policy-quorum", "a second quorum");
    policy.quorum = policy.names.get(name);
  } else {
    wrong("policy-malformed", "none of log, witness, group and quorum");
  }
  seen.lines[kind] <= MOST.lines || wrong("policy-too-many", "more than 1024 lines of a kind");
}

function policyGroup(policy, seen, [stated, ...members], wrong) {
  const counts = { any: 1n, all: BigInt(members.length) };
  const threshold = Object.hasOwn(counts, stated) ? counts[stated] : number(stated);
  if (threshold === undefined || threshold < 1n || threshold > BigInt(members.length)) {
    wrong("policy-threshold", "the threshold cannot be met, or asks for nothing");
  }
  const parts = members.map((member) => {
    policy.names.has(member) || wrong("policy-unknown-name", "an unknown name, or `none`");
    seen.members.has(member) && wrong("policy-member-twice", "a member that belongs to a group");
    seen.members.add(member);
    return policy.names.get(member);
  });
  const depth = 1 + Math.max(...parts.map((part) => part.depth));
  depth <= MOST.nesting || wrong("policy-nesting", "groups nest too deeply");
  return { threshold: Number(threshold), members: parts, depth };
}

/** `NAME+ID+BASE64`: a sound key of the kind asked for, that stood nowhere before. */
async function policyKey(policy, seen, text, kind, wrong) {
  const malformed = () => wrong("key-malformed", "not a verifier key of the form NAME+ID+BASE64");
  const [name, rest] = halves(text, "+");
  const [stated, encoded] = halves(rest ?? "", "+");
  const material = unbase64(encoded ?? "");
  if (!isKeyName(name) || encoded === undefined || !material?.length) malformed();
  if (material[0] !== LOG && material[0] !== COSIGNER) {
    wrong("key-type", "a verifier key of another type than 0x01 and 0x04");
  }
  if (material.length !== 33) malformed();
  const bytes = material.subarray(1);
  const hash = await sha256(new TextEncoder().encode(`${name}\n`), material);
  const id = hex(hash.subarray(0, 4));
  id === stated || wrong("key-id", "the verifier key's id is wrong");
  material[0] === kind || wrong("key-type", "a key of the wrong type");
  isSoundPoint(bytes) || wrong("key-weak", "a weak key");
  if (seen.keys.has(hex(bytes)) || policy.keys.has(`${name} ${id}`)) {
    wrong("key-twice", "a key that stood before");
  }
  seen.keys.add(hex(bytes));
  const key = { name, kind, key: bytes };
  policy.keys.set(`${name} ${id}`, key);
  return key;
}

function isMet(part, signed) {
  if (part.key !== undefined) return signed.has(part.key);
  return part.members.filter((member) => isMet(member, signed)).length >= part.threshold;
}

function witnessesOf(part) {
  return part.key !== undefined ? [part.key] : part.members.flatMap(witnessesOf);
}

// ---- Saved files -----------------------------------------------------------------------------

/** Reads `request.http`. */
export function parseRequest(file) {
  const { start, fields, body } = messageParts(file);
  const [, method, path, query] =
    /^([!#$%&'*+.^_`|~A-Za-z0-9-]+) (\/[!-"$->@-~]*)(\?[!-"$-~]*)? HTTP\/1\.1$/.exec(start) ??
    fail("file-start-line", "the request line is not one of HTTP/1.1 in origin form");
  all(fields, "host").length === 1 || fail("file-host", "a request has exactly one Host");
  checkLength(fields, body);
  return { method, path, query: query ?? "?", fields, body };
}

/** Reads `response.http`, the answer to a request with this method. */
export function parseResponse(file, method) {
  const { start, fields, body } = messageParts(file);
  const [, digits] = /^HTTP\/1\.1 ([0-9]{3}) /.exec(start) ??
    fail("file-start-line", "the status line is not one of HTTP/1.1");
  digits.startsWith("1") && fail("file-interim", "an interim response was saved");
  /^[2-5]/.test(digits) || fail("file-start-line", `no status: ${digits}`);
  const status = Number(digits);
  if (hasContent(method, status)) checkLength(fields, body);
  else if (body.length > 0 || all(fields, "content-length").length > 1) badLength();
  return { status, fields, body };
}

function messageParts(file) {
  // Bytes outside ASCII become the characters of the same number; no covered field may have them.
  const text = latin1(file);
  const end = text.indexOf("\r\n\r\n");
  end >= 0 || fail("file-truncated", "the header section does not end");
  const lines = text.slice(0, end).split("\r\n");
  const malformed = () => fail("file-header-line", "a header line is malformed");
  if (lines.some((line) => /[\x00-\x08\x0a-\x1f\x7f]/.test(line))) malformed();
  const fields = lines.slice(1).map((line) => {
    const [name, value] = halves(line, ":");
    return value !== undefined && TOKEN.test(name) ? [name, trimmed(value)] : malformed();
  });
  if (all(fields, "transfer-encoding").length > 0) {
    fail("file-transfer-encoding", "Transfer-Encoding has no place in a saved file");
  }
  return { start: lines[0], fields, body: file.slice(end + 4) };
}

function checkLength(fields, body) {
  const values = all(fields, "content-length");
  const length = values.length === 0 ? 0n : number(values[0]);
  if (values.length > 1 || length !== BigInt(body.length)) badLength();
}

// ---- Ed25519, by the strict rule -------------------------------------------------------------

const P = 2n ** 255n - 19n;
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const D = 0x52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3n;
const EIGHTH = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n;

/** The heights of the eight points of small order: signatures under these can be made by anyone. */
const SMALL_ORDER = [0n, 1n, P - 1n, EIGHTH, P - EIGHTH];

/** The one encoding of a point of the curve that is not of small order. */
function isSoundPoint(bytes) {
  const y = littleEndian(bytes) & (2n ** 255n - 1n);
  if (y >= P || SMALL_ORDER.includes(y)) return false;
  // x^2 = (y^2 - 1) / (d y^2 + 1) has a root exactly when the product of both sides has one.
  const square = y * y;
  return isSquare(((square - 1n) * (D * square + 1n)) % P);
}

/**
 * Libraries disagree about keys and points of small order, other encodings, and large S, so these
 * are looked at here, and only what they agree on is left to WebCrypto.
 */
async function isSigned(key, message, signature) {
  const isStrict = littleEndian(signature.subarray(32)) < L;
  if (!isStrict || !isSoundPoint(signature.subarray(0, 32))) return false;
  const imported = await importKey(key);
  return await subtle().verify("Ed25519", imported, signature, message);
}

async function importKey(key) {
  try {
    return await subtle().importKey("raw", key, "Ed25519", false, ["verify"]);
  } catch (error) {
    // Keys are checked when a policy is read, so that what is refused here is the algorithm.
    return fail("ed25519-unavailable", `this platform's WebCrypto has no Ed25519 (${error.name})`);
  }
}

function subtle() {
  return globalThis.crypto?.subtle ?? fail("webcrypto-unavailable",
    "no WebCrypto here: a page has it over https, or from localhost");
}

function littleEndian(bytes) {
  return BigInt(`0x${hex(bytes.slice().reverse())}`);
}

/** Whether a number, not zero, has a root modulo P: its Jacobi symbol. */
function isSquare(number) {
  let [top, bottom, right] = [number, P, true];
  while (top !== 0n) {
    while (!(top & 1n)) {
      top >>= 1n;
      if ([3n, 5n].includes(bottom & 7n)) right = !right;
    }
    if ((top & 3n) === 3n && (bottom & 3n) === 3n) right = !right;
    [top, bottom] = [bottom % top, top];
  }
  return right && bottom === 1n;
}

// ---- Small forms -----------------------------------------------------------------------------

function fail(code, message) {
  throw new NotVerified(code, message);
}

const coded = () => fail("content-coded", "a coded content cannot be checked");
const partial = () => fail("content-partial", "a part of a content cannot be checked");
const badLength = () => fail("file-content-length", "Content-Length does not fit the content");

const isBytes = (value) => value instanceof Uint8Array;
const hasContent = (method, status) => method !== "HEAD" && status !== 204 && status !== 304;
const trimmed = (value) => value.replace(/^[\t ]+/, "").replace(/(?<![\t ])[\t ]+$/, "");

/** The trimmed values of all fields of a name. */
function all(fields, name) {
  const same = fields.filter(([other]) => other.length === name.length && lower(other) === name);
  return same.map(([, value]) => trimmed(value));
}

/** Only ASCII letters: others have lower-case forms within ASCII. */
const lower = (name) => name.replace(/[A-Z]/g, (letter) => letter.toLowerCase());

/** The value of a field that stands at most once. */
function single(fields, name) {
  const values = all(fields, name);
  values.length < 2 || fail("field-repeated", `the field \`${name}\` is repeated`);
  return values[0];
}

function required(fields, name) {
  return single(fields, name) ?? fail("field-missing", `the field \`${name}\` is missing`);
}

/** Around the first separator; the second half is undefined where there is none. */
function halves(text, separator) {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + separator.length)];
}

/** A decimal below 2^63 without leading zeros, signs or blanks. */
function number(text) {
  const value = /^(0|[1-9][0-9]{0,18})$/.test(text) ? BigInt(text) : undefined;
  return value < 1n << 63n ? value : undefined;
}

const plain = (value) => (value <= Number.MAX_SAFE_INTEGER ? Number(value) : value);

/** A C2SP key name: not empty, no blank of Unicode's, no `+`, no control character. */
const isKeyName = (name) => /^[^\p{White_Space}+\x00-\x1f]+$/u.test(name);

/** Standard base64 in its one spelling, padded, with pad bits zero; else undefined. */
function unbase64(text) {
  try {
    const decoded = atob(text);
    return btoa(decoded) === text ? Uint8Array.from(decoded, (c) => c.charCodeAt(0)) : undefined;
  } catch {
    return undefined;
  }
}

/** `:..:`, a byte sequence of RFC 8941. */
function byteSequence(value) {
  const isOne = value.length >= 2 && value.startsWith(":") && value.endsWith(":");
  return isOne ? unbase64(value.slice(1, -1)) : undefined;
}

function latin1(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4096) {
    text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  }
  return text;
}

const base64 = (bytes) => btoa(latin1(bytes));
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const ascii = (text) => Uint8Array.from(text, (c) => c.charCodeAt(0));

function utf8(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

async function sha256(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return new Uint8Array(await subtle().digest("SHA-256", whole));
}

const contentDigest = async (body) => `sha-256=:${base64(await sha256(body))}:`;
