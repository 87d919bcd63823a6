// node --test crates/gateway/ui/verify.test.mjs

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ORIGIN, digestOf, example, makeQuorum, named, seal, signatures,
} from "./sealed.mjs";
import {
  NotVerified, parsePolicy, parseRequest, parseResponse, sentence, verify, verifyCheckpoint,
} from "./verify.mjs";

const text = (bytes) => Buffer.from(bytes).toString("latin1");
const bytes = (text) => new Uint8Array(Buffer.from(text, "latin1"));

/** The verdict as one line, or the code of what is wrong. */
async function judge(exchange) {
  try {
    return sentence(await verify(exchange));
  } catch (error) {
    if (error instanceof NotVerified) return error.code;
    throw error;
  }
}

/** The example with a text in one of its files replaced, which must stand there. */
function replaced(part, from, to) {
  const whole = example();
  const before = text(whole[part]);
  assert.ok(before.includes(from), from);
  return { ...whole, [part]: bytes(before.replace(from, to)) };
}

// ---- The worked example

test("the worked example is verified", async () => {
  const verdict = await verify(example());
  assert.deepEqual(verdict, {
    verified: true, fresh: true, development: false,
    signers: 3, replicas: 4, names: ["org-a.example/r0", "org-b.example/r1", "org-c.example/r2"],
    index: 5, epoch: 0, time: 1763658123456,
    state: "sha-256=:S6aXNcpTdl7WpwnttWxuoja3GTo7KaazkMNG8PQ0Dk4=:",
    size: 7, root: "AMJf6OBSvtI+qskgudhIUoXj3GoBv2vD8WmpQLJMabU=",
  });
  assert.equal(sentence(verdict), "verified: 3 of 4 replicas, entry 5");
});

test("rules about answers in the policy are comments", async () => {
  const rules = bytes("# quorate-answers/1 not-covered json-spelling\n# quorate-answers/1 x\n");
  const whole = example();
  const verdict = await judge({ ...whole, policy: new Uint8Array([...rules, ...whole.policy]) });
  assert.equal(verdict, "verified: 3 of 4 replicas, entry 5");
});

test("objects and a policy that was read before are verified as files are", async () => {
  const { policy, request, response } = example();
  const read = await parsePolicy(text(policy));
  const asked = parseRequest(request);
  assert.deepEqual([asked.method, asked.path, asked.query], ["POST", "/orders", "?"]);
  const verdict = await verify({
    policy: read, request: asked, response: parseResponse(response, asked.method),
  });
  assert.deepEqual(verdict, await verify(example()));
});

// ---- One byte changed, everywhere

/** Fields of the example that no rule asks for; Host's value is one that does not matter. */
const FREE = /^(User-Agent|Link|Server-Timing)$/i;

/** Which bytes of a message's head may change how: "bound", "name", "free" or "host" each. */
function places(file) {
  const whole = text(file);
  const kinds = Array(file.length).fill("bound");
  let at = 0;
  for (const [row, line] of whole.slice(0, whole.indexOf("\r\n\r\n")).split("\r\n").entries()) {
    if (row === 0) {
      const reason = line.startsWith("HTTP/1.1 201 ") ? 13 : line.length;
      kinds.fill("free", at + reason, at + line.length);
      kinds.fill("blank", at + reason - 1, at + reason);
    } else {
      const [name] = line.split(":");
      const isFree = FREE.test(name);
      kinds.fill(isFree ? "free" : "name", at, at + name.length);
      const value = at + name.length + 2;
      const ignored = isFree || name === "Host";
      kinds.fill(ignored ? "free" : "blank", value - 1, value);
      kinds.fill(ignored ? "free" : "bound", value, at + line.length);
    }
    at += line.length + 2;
  }
  return kinds;
}

const CHANGES = [
  ["a bit", (byte) => [byte ^ 1]],
  ["case", (byte) => [byte ^ 0x20]],
  ["the high bit", (byte) => [byte ^ 0x80]],
  ["gone", () => []],
  ["doubled", (byte) => [byte, byte]],
  ["a blank before", (byte) => [0x20, byte]],
  ["a NUL", () => [0]],
];

function* changes(file) {
  for (let at = 0; at < file.length; at += 1) {
    for (const [how, change] of CHANGES) {
      const changed = [...file.subarray(0, at), ...change(file[at]), ...file.subarray(at + 1)];
      yield [at, how, Uint8Array.from(changed)];
    }
  }
}

for (const part of ["request", "response"]) {
  test(`every changed byte of the ${part} is refused, unless nothing covers it`, async () => {
    const whole = example();
    const policy = await parsePolicy(whole.policy);
    const kinds = places(whole[part]);
    let refused = 0;
    for (const [at, how, file] of changes(whole[part])) {
      const verdict = await judge({ ...whole, policy, [part]: file });
      if (!verdict.startsWith("verified")) {
        refused += 1;
        continue;
      }
      const kind = kinds[at];
      const letter = /[A-Za-z]/.test(String.fromCharCode(whole[part][at]));
      const blank = kind === "blank" || kinds[at - 1] === "blank";
      // The start of a value may gain a blank, its end lose none; what ends a value is CR.
      const before = how === "a blank before" && (blank || whole[part][at] === 13);
      const harmless = kind === "free" || before || (kind === "name" && how === "case" && letter) ||
        (kind === "blank" && ["gone", "doubled"].includes(how));
      const colon = whole[part][at] === 0x3a && kinds[at + 1] === "free";
      assert.ok(harmless || colon, `byte ${at} (${kind}), ${how}: ${verdict}`);
      assert.equal(verdict, "verified: 3 of 4 replicas, entry 5");
    }
    assert.ok(refused > whole[part].length * 3, `${refused}`);
  });
}

test("every changed byte of the policy is refused, or changes only who is asked", async () => {
  const whole = example();
  const survivors = [];
  for (const [at, how, policy] of changes(whole.policy)) {
    const verdict = await judge({ ...whole, policy });
    if (verdict.startsWith("verified")) survivors.push([at, how, verdict]);
  }
  // What survives: blanks around words, empty lines, and a threshold of at most 3. No key does,
  // whether it signed here or not, because its id is a hash over it.
  const source = text(whole.policy);
  for (const [at, how, verdict] of survivors) {
    const start = source.lastIndexOf("\n", at - 1) + 1;
    const line = source.slice(start, source.indexOf("\n", at));
    const blank = how === "a blank before" || (source[at] === " " && how === "doubled") ||
      (source[at] === "\n" && how === "doubled");
    const threshold = line.startsWith("group replicas 3") && at - start === 15 && how === "a bit";
    assert.ok(blank || threshold, `byte ${at}, ${how}, of ${line}: ${verdict}`);
  }
});

// ---- Exchanges of every shape

const quorum = await makeQuorum();

/** An exchange whose signature base is written out, sealed by a quorum. */
async function sealed({ base, request, response, by = quorum, policy = by.policy, lines }) {
  const { head, proof, fields } = await seal(base, by);
  const own = fields(proof(lines ? await lines(head) : await signatures(by, head)));
  return {
    policy,
    request: { query: "?", fields: [], body: new Uint8Array(), ...request },
    response: { ...response, fields: [...response.fields, ...own] },
  };
}

const EMPTY = await digestOf("");
const PLAIN = {
  base: `"@method";req: GET\n"@authority";req: shop.example\n"@path";req: /a\n"@query";req: ?\n` +
    `"content-digest";req: ${EMPTY}\n"@status": 200\n"content-digest": ${await digestOf("hi")}\n` +
    `"@signature-params": ("@method";req "@authority";req "@path";req "@query";req ` +
    `"content-digest";req "@status" "content-digest");tag="quorate-exchange/1"`,
  request: { method: "GET", path: "/a" },
  response: {
    status: 200, fields: [["Content-Digest", await digestOf("hi")]], body: bytes("hi"),
  },
};

test("without a key an answer is verified, and not fresh", async () => {
  assert.equal(await judge(await sealed(PLAIN)), "verified, not fresh: 3 of 4 replicas, entry 5");
});

test("a name below localhost has development keys", async () => {
  for (const [name, development] of [
    ["a.localhost", true], ["a.localhost:7400", true], ["localhost", false], ["localhost.a", false],
  ]) {
    const by = await makeQuorum(`${name}/quorate/5f2c9a17d0e84b63/hybrid`);
    const base = PLAIN.base.replace("shop.example", name);
    const verdict = await verify(await sealed({ ...PLAIN, base, by }));
    assert.equal(verdict.development, development, name);
    assert.equal(sentence(verdict).endsWith(" (development keys)"), development);
  }
});

test("a service's own fields, cookies and queries are covered", async () => {
  const covers = "x-api-key;req, x-total";
  const base = `"@method";req: GET\n"@authority";req: shop.example\n"@path";req: /a%2fb\n` +
    `"@query";req: ?q=%C3%A9&\n"accept";req: \n"idempotency-key";req: "a\\"b"\n` +
    `"x-api-key";req: k\tk\n"content-digest";req: ${EMPTY}\n"@status": 200\n` +
    `"set-cookie";bs: :YT0x:, :Yj0y:\n"quorate-covers": ${covers}\n"x-total": 7\n` +
    `"content-digest": ${EMPTY}\n"@signature-params": ("@method";req "@authority";req ` +
    `"@path";req "@query";req "accept";req "idempotency-key";req "x-api-key";req ` +
    `"content-digest";req "@status" "set-cookie";bs "quorate-covers" "x-total" "content-digest")` +
    `;tag="quorate-exchange/1"`;
  const request = {
    method: "GET", path: "/a%2fb", query: "?q=%C3%A9&",
    fields: [["X-API-Key", " k\tk\t"], ["ACCEPT", ""], ["x-other", "\u2014"],
      ["Idempotency-Key", '"a\\"b"']],
  };
  const fields = [["x-total", "7"], ["Set-Cookie", "a=1"], ["set-cookie", "b=2 "],
    ["content-digest", EMPTY], ["Quorate-Covers", covers]];
  const whole = await sealed({ base, request, response: { status: 200, fields, body: bytes("") } });
  assert.equal(await judge(whole), "verified: 3 of 4 replicas, entry 5");
  const other = (fields, from, to) =>
    fields.map(([name, value]) => [name, name.toLowerCase() === from ? to : value]);
  for (const [side, name, value, code] of [
    ["request", "x-api-key", "kk", "not-in-log"],
    ["request", "x-api-key", "k\u00e9", "field-value"],
    ["response", "x-total", "8", "not-in-log"],
    ["response", "set-cookie", "a=1", "not-in-log"],
    ["response", "set-cookie", "\u2014", "field-value"],
    ["response", "quorate-covers", "x-total", "not-in-log"],
    ["response", "quorate-covers", "x-total, x-api-key;req", "covers-order"],
    ["response", "quorate-covers", "x-total, x-total", "covers-twice"],
    ["response", "quorate-covers", "X-Total", "covers-name"],
    ["response", "quorate-covers", "x-total,x-b", "covers-name"],
    ["response", "quorate-covers", "", "covers-name"],
    ["response", "quorate-covers", "etag", "covers-reserved"],
    ["response", "quorate-covers", "quorate-x", "covers-reserved"],
    ["response", "quorate-covers", "content-digest;req", "covers-reserved"],
  ]) {
    const part = { ...whole[side], fields: other(whole[side].fields, name, value) };
    assert.equal(await judge({ ...whole, [side]: part }), code, `${name}: ${value}`);
  }
  for (const [side, fields, code] of [
    ["request", [["Accept", "a"]], "field-repeated"],
    ["request", [["Content-Encoding", "identity"]], "content-coded"],
    ["request", [["Content-Range", "a"]], "content-partial"],
    ["request", [["Content-Digest", await digestOf("x")]], "content-digest-wrong"],
    ["request", [["Content-Digest", EMPTY]], "verified: 3 of 4 replicas, entry 5"],
    ["request", [["X-\u212aey", "a"]], "verified: 3 of 4 replicas, entry 5"],
    ["response", [["X-Total", "7"]], "field-repeated"],
    ["response", [["ETag", '"1"']], "not-in-log"],
    ["response", [["Content-Encoding", "gzip"]], "content-coded"],
    ["response", [["Content-Range", "a"]], "content-partial"],
    ["response", [["Quorate-Index", "5"]], "field-repeated"],
    ["response", [["X-Anything", "a"]], "verified: 3 of 4 replicas, entry 5"],
  ]) {
    const part = { ...whole[side], fields: [...whole[side].fields, ...fields] };
    assert.equal(await judge({ ...whole, [side]: part }), code, `${fields}`);
  }
});

test("HEAD, 204 and 304 have no content", async () => {
  for (const [method, status] of [["HEAD", 200], ["PUT", 204], ["GET", 304]]) {
    const base = PLAIN.base.replace("GET", method).replace(": 200", `: ${status}`)
      .replace(await digestOf("hi"), EMPTY);
    const response = { status, fields: [["Content-Digest", EMPTY]], body: bytes("") };
    const request = { ...PLAIN.request, method };
    const whole = await sealed({ base, request, response });
    assert.match(await judge(whole), /^verified, /);
    whole.response.body = bytes("hi");
    assert.equal(await judge(whole), "content-unexpected");
  }
});

test("what cannot be a request or a final response is refused", async () => {
  const whole = await sealed(PLAIN);
  for (const [side, change, code] of [
    ["request", { method: "G T" }, "request-method"],
    ["request", { path: "a" }, "request-path"],
    ["request", { path: "/a?b" }, "request-path"],
    ["request", { path: "/a#b" }, "request-path"],
    ["request", { path: "/\u00e9" }, "request-path"],
    ["request", { path: "/a\n" }, "request-path"],
    ["request", { path: undefined }, "request-path"],
    ["request", { query: "" }, "request-query"],
    ["request", { query: "?#" }, "request-query"],
    ["request", { query: "?a" }, "not-in-log"],
    ["request", { body: bytes("x") }, "not-in-log"],
    ["response", { status: 199 }, "response-status"],
    ["response", { status: 201 }, "not-in-log"],
    ["response", { body: bytes("ho") }, "content-digest-wrong"],
    ["response", { fields: whole.response.fields.slice(1) }, "field-missing"],
  ]) {
    assert.equal(await judge({ ...whole, [side]: { ...whole[side], ...change } }), code);
  }
  const long = { ...whole.request, path: `/${"a".repeat(65_535)}` };
  assert.equal(await judge({ ...whole, request: long }), "exchange-too-long");
});

// ---- Numbers, base64, files

test("Quorate's own fields have one form each", async () => {
  for (const value of ["05", "+5", "5 5", "5;a", "0x5", "", "-5", "9223372036854775808", "5.0"]) {
    const code = await judge(replaced("response", "Quorate-Index: 5", `Quorate-Index: ${value}`));
    assert.equal(code, "field-malformed", value);
  }
  for (const [from, to, code] of [
    ["Quorate-Index: 5", "Quorate-Index: 6", "index-differs"],
    ["Quorate-Epoch: 0", "Quorate-Epoch: 9223372036854775807", "not-in-log"],
    ["Quorate-Epoch: 0", "Quorate-Epoch: 00", "field-malformed"],
    ["Quorate-Salt: :AAECAwQFBgcICQoLDA0ODw==:", "Quorate-Salt: :AAECAwQFBgcICQoLDA0ODw:",
      "field-malformed"],
    ["ODw==:", "ODx==:", "field-malformed"],
    ["ODw==:", "ODw==:;a", "field-malformed"],
    [":S6aXN", ": S6aXN", "field-malformed"],
    ["sha-256=:S6aXN", "sha-512=:S6aXN", "field-malformed"],
    ["Quorate-Proof: :Y", "Quorate-Proof: Y", "field-malformed"],
    ["Content-Digest: sha-256", "Content-Digest: sha-512=:AA==:, sha-256", "content-digest-wrong"],
  ]) {
    assert.equal(await judge(replaced("response", from, to)), code, to);
  }
});

test("files have one form", async () => {
  for (const [part, from, to, code] of [
    ["request", "HTTP/1.1", "HTTP/1.0", "file-start-line"],
    ["request", "/orders", "http://a/orders", "file-start-line"],
    ["request", "/orders", "*", "file-start-line"],
    ["request", "/orders", "/orders#a", "file-start-line"],
    ["request", "Host: shop.example\r\n", "", "file-host"],
    ["request", "Host:", "Host: a\r\nHost:", "file-host"],
    ["request", "Host:", "Host :", "file-header-line"],
    ["request", "User-", " User-", "file-header-line"],
    ["request", "\r\n\r\n", "\n\n", "file-truncated"],
    ["request", "Content-Length: 22", "Content-Length: 022", "file-content-length"],
    ["request", "Content-Length: 22\r\n", "", "file-content-length"],
    ["request", "Content-Length", "Content-Length: 22\r\nContent-Length", "file-content-length"],
    ["response", "HTTP/1.1 201 Created", "HTTP/1.1 201", "file-start-line"],
    ["response", "HTTP/1.1 201 Created", "HTTP/1.1 201 ", "verified: 3 of 4 replicas, entry 5"],
    ["response", "HTTP/1.1 201", "HTTP/1.1 103", "file-interim"],
    ["response", "HTTP/1.1 201", "HTTP/1.1 601", "file-start-line"],
    ["response", "Link:", "Transfer-Encoding: chunked\r\nLink:", "file-transfer-encoding"],
    ["response", "Link:", "Li\rnk:", "file-header-line"],
  ]) {
    assert.equal(await judge(replaced(part, from, to)), code, to);
  }
});

// ---- The proof's text and its signatures

/** The example's exchange with another proof text around it. */
async function judged(proof, lines) {
  const { head, proof: text, fields } = await seal(PLAIN.base, quorum);
  const whole = await sealed(PLAIN);
  const own = fields(proof(text(lines ? await lines(head) : await signatures(quorum, head))));
  const response = { ...PLAIN.response, fields: [...PLAIN.response.fields, ...own] };
  return judge({ ...whole, response });
}

const VERIFIED = "verified, not fresh: 3 of 4 replicas, entry 5";

test("a proof's text has one form", async () => {
  const cases = [
    [(proof) => proof, VERIFIED],
    [(proof) => proof.slice(0, -1), "checkpoint-malformed"],
    [(proof) => `${proof}\n`, "checkpoint-malformed"],
    [(proof) => `\ufeff${proof}`, "proof-malformed"],
    [(proof) => proof.replace("@v1\n", "@v1\nextra AAAA\n"), "proof-malformed"],
    [(proof) => proof.replace("@v1\n", "@v1\r\n"), "proof-malformed"],
    [(proof) => proof.replace("index 5", "index 05"), "proof-malformed"],
    [(proof) => proof.replace("index 5", "index 6"), "index-differs"],
    [(proof) => proof.replace("index 5", "index 7"), "index-beyond-head"],
    [(proof) => proof.replace("\n7\n", "\n8\n"), "signature-wrong"],
    [(proof) => proof.replace("\n7\n", "\n07\n"), "checkpoint-malformed"],
    [(proof) => proof.replace("\n7\n", "\n9223372036854775808\n"), "checkpoint-malformed"],
    [(proof) => proof.replace("\n7\n", "\n7\nmore\n"), "checkpoint-malformed"],
    [(proof) => proof.replace(/^(.*\n.*\n)(.*\n)/, "$1"), "not-in-log"],
    [(proof) => proof.replace(/^(.*\n.*\n)(.*\n)/, "$1$2$2"), "not-in-log"],
    [(proof) => proof.replace(/^(.*\n.*\n)(.*\n)/, `$1${`${"A".repeat(43)}=\n`.repeat(64)}`),
      "proof-malformed"],
    [(proof) => proof.replace(ORIGIN, ORIGIN.replace("/bft", "/hybrid")), "origin-differs"],
    [(proof) => proof.replaceAll("\u2014 ", "- "), "checkpoint-malformed"],
    [(proof) => proof + "x".repeat(65_536), "proof-too-long"],
    [(proof) => proof + quorum.line({ name: "a", id: [1, 2, 3, 4] }, [5]).repeat(252), VERIFIED],
    [(proof) => proof + quorum.line({ name: "a", id: [1, 2, 3, 4] }, [5]).repeat(253),
      "checkpoint-malformed"],
    [(proof) => proof + quorum.line({ name: "a", id: [1, 2, 3, 4] }), "checkpoint-malformed"],
    [(proof) => proof + quorum.line({ name: "a\u00a0b", id: [1, 2, 3, 4] }, [5]),
      "checkpoint-malformed"],
  ];
  for (const [change, outcome] of cases) assert.equal(await judged(change), outcome, `${change}`);
});

test("a signer counts once, strangers not at all, and a wrong line condemns the head", async () => {
  const log = (head) => quorum.logLine(0, head);
  const cosigned = (head, signers) => signatures(quorum, head, signers);
  const whole = (head) => cosigned(head, [0, 1, 2]);
  const [{ name, id }] = quorum.witnesses;
  const cases = [
    [async (head) => cosigned(head, [0, 1]), "quorum-missing"],
    [async (head) => cosigned(head, [3, 3, 3, 1]), "quorum-missing"],
    [async (head) => cosigned(head, [3, 1, 0, 0]), VERIFIED],
    [async (head) => cosigned(head, [0, 1, 2, 3]), VERIFIED.replace("3 of", "4 of")],
    [async (head) => (await whole(head)).replace(await log(head), ""), "log-signature-missing"],
    [async (head) => (await log(head)).repeat(4), "quorum-missing"],
    [async (head) => (await whole(head)) + quorum.line({ name: "a", id }, [7]), VERIFIED],
    [async (head) => (await whole(head)) + quorum.line({ name, id: [1, 1, 1, 1] }, [7]), VERIFIED],
    [async (head) => (await whole(head)) + quorum.line({ name, id }, [7]), "signature-wrong"],
    [async (head) => (await whole(head)) + quorum.line({ name, id }, Buffer.alloc(73)),
      "signature-wrong"],
    [async (head) => (await whole(head)) + (await quorum.cosignerLine(3, `${head}x`)),
      "signature-wrong"],
    [async (head) => (await whole(head)) + (await quorum.logLine(3, `${head}x`)),
      "signature-wrong"],
    [async (head) => (await whole(head)) + (await quorum.cosignerLine(3, head, (1n << 63n) - 1n)),
      VERIFIED.replace("3 of", "4 of")],
    [async (head) => (await whole(head)) + (await quorum.cosignerLine(3, head, 1n << 63n)),
      "signature-wrong"],
    [async (head) => (await cosigned(head, [0, 1])) + (await quorum.cosignerLine(0, head, 1n)),
      "quorum-missing"],
  ];
  for (const [lines, outcome] of cases) {
    assert.equal(await judged((proof) => proof, lines), outcome, `${lines}`);
  }
});

test("S must be below L, and R an encoding of a point that is not of small order", async () => {
  const L = 2n ** 252n + 27742317777372353535851937790883648493n;
  const little = (number) => Buffer.from(number.toString(16).padStart(64, "0"), "hex").reverse();
  const number = (bytes) => BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
  const altered = (change) => async (head) => {
    const lines = await signatures(quorum, head);
    const line = await quorum.cosignerLine(3, head);
    const all = Buffer.from(line.split(" ")[2], "base64");
    const [front, r, s] = [all.subarray(4, 12), all.subarray(12, 44), all.subarray(44)];
    return lines + quorum.line(quorum.witnesses[3], front, ...change(r, s));
  };
  const outcome = (change) => judged((proof) => proof, altered(change));
  assert.equal(await outcome((r, s) => [r, s]), VERIFIED.replace("3 of", "4 of"));
  assert.equal(await outcome((r, s) => [r, little(number(s) + L)]), "signature-wrong");
  for (const r of WEAK) {
    assert.equal(await outcome((_, s) => [r, s]), "signature-wrong");
    assert.equal(await outcome((_, s) => [r, Buffer.alloc(32)]), "signature-wrong");
  }
});

/** All encodings of points of small order, other ones than the canonical included. */
const WEAK = [
  "00".repeat(32), `01${"00".repeat(31)}`, `${"00".repeat(31)}80`, `01${"00".repeat(30)}80`,
  `ec${"ff".repeat(30)}7f`, `ec${"ff".repeat(31)}`, `ed${"ff".repeat(30)}7f`,
  `ed${"ff".repeat(31)}`, `ee${"ff".repeat(30)}7f`, `ee${"ff".repeat(31)}`,
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
].map((text) => Buffer.from(text, "hex"));

test("a head is checked by itself, too", async () => {
  const { head } = await seal(PLAIN.base, quorum);
  const checkpoint = `${head}\n${await signatures(quorum, head)}`;
  const { signers, replicas, size } = await verifyCheckpoint({ policy: quorum.policy, checkpoint });
  assert.deepEqual([signers, replicas, size], [3, 4, 7]);
  for (const [wrong, code] of [
    [checkpoint.replace("\n7\n", "\n8\n"), "signature-wrong"],
    [checkpoint.slice(0, -1), "checkpoint-malformed"],
    [`${head}\n${await signatures(quorum, head, [0, 1])}`, "quorum-missing"],
  ]) {
    const checked = verifyCheckpoint({ policy: quorum.policy, checkpoint: wrong });
    await assert.rejects(checked, { name: "NotVerified", code });
  }
});

// ---- The policy

test("weak keys, and what is no point, are refused even where nothing uses them", async () => {
  const beyond = Buffer.from(`f0${"ff".repeat(30)}7f`, "hex"); // p + 3, which would be sound
  const none = Buffer.from(`02${"00".repeat(31)}`, "hex"); // no point has this height
  for (const key of [...WEAK, beyond, none]) {
    const weak = await named("weak.example", [4, ...key]);
    const policy = `${quorum.policy}witness weak ${weak.text}\n`;
    const code = await judge({ ...(await sealed(PLAIN)), policy });
    assert.equal(code, "key-weak", key.toString("hex"));
  }
});

test("a policy has one meaning, or is refused", async () => {
  const right = quorum.policy;
  const [first] = quorum.keys.split("\n");
  const cosigner = quorum.witnesses[0];
  const material = Buffer.from(cosigner.text.split("+").slice(2).join("+"), "base64");
  const again = await named("again.example", material);
  const asLog = await named(ORIGIN, [1, ...material.subarray(1)]);
  const other = await named("other.example", [6, ...material.subarray(1)]);
  const changes = [
    ["quorum replicas", "quorum r1", "verified, not fresh: 1 of 1 replicas, entry 5"],
    ["quorum replicas", "quorum r3", "quorum-missing"],
    ["replicas 3 ", "replicas any ", VERIFIED],
    ["replicas 3 ", "replicas 2 ", VERIFIED],
    ["replicas 3 ", "replicas all ", "quorum-missing"],
    ["replicas 3 ", "replicas 0 ", "policy-threshold"],
    ["replicas 3 ", "replicas 5 ", "policy-threshold"],
    ["replicas 3 ", "replicas 03 ", "policy-threshold"],
    ["replicas 3 ", "replicas toString ", "policy-threshold"],
    ["quorum replicas", "# note\n\n\t quorum\treplicas", VERIFIED],
    ["quorum replicas", "quorum none", "policy-unknown-name"],
    ["quorum replicas", "quorum replicas\nquorum replicas", "policy-quorum"],
    ["quorum replicas\n", "", "policy-quorum"],
    ["quorum replicas\n", "quorum replicas", "policy-malformed"],
    ["quorum replicas", "quorum replicas\r", "policy-malformed"],
    ["quorum", "quo\0rum", "policy-malformed"],
    ["quorum replicas", "quorum", "policy-malformed"],
    ["quorum replicas", "__proto__ a\nquorum replicas", "policy-malformed"],
    ["group replicas", "group r0", "policy-name"],
    ["group replicas", "group none", "policy-name"],
    [" r2 r3", " r2 r2", "policy-member-twice"],
    [" r2 r3", " r2 r4", "policy-unknown-name"],
    ["witness r1", "witness r0", "policy-name"],
    ["witness r1", "witness", "policy-malformed"],
    ["log ", "witness x ", "key-type"],
    [first, `${first}\n${first}`, "key-twice"],
    [first, `${first}\nwitness again ${again.text}`, "key-twice"],
    [first, `${first}\nlog ${asLog.text}`, "key-twice"],
    [first, `${first}\nwitness other ${other.text}`, "key-type"],
    [first, `${first} note`, VERIFIED],
    [first, `${first} note more`, "policy-malformed"],
    ["/bft+", "/hybrid+", "key-id"],
    [cosigner.text, cosigner.text.replace(/\+[0-9a-f]{8}/, "+00000000"), "key-id"],
    [cosigner.text, cosigner.text.replace(/.$/, ""), "key-malformed"],
    [cosigner.text, cosigner.text.replace(/\+(?=[^+]*\+)/, "+ "), "key-malformed"],
  ];
  for (const [from, to, outcome] of changes) {
    assert.ok(right.includes(from), from);
    const policy = right.replace(from, to);
    const verdict = await judge({ ...(await sealed(PLAIN)), policy });
    assert.equal(verdict, outcome, `${from} -> ${to}`);
  }
  const empty = await judge({ ...(await sealed(PLAIN)), policy: "" });
  assert.equal(empty, "policy-malformed");
  const alone = right.split("\n").filter((line) => !line.startsWith("log")).join("\n");
  assert.equal(await judge({ ...(await sealed(PLAIN)), policy: alone }), "policy-no-log");
  const long = await judge({ ...(await sealed(PLAIN)), policy: "#".repeat(1 << 20) + right });
  assert.equal(long, "policy-too-long");
});

test("groups nest, and a group's count is that of the witnesses below it", async () => {
  const nested = (text) => `${quorum.keys}${text}`;
  const cases = [
    ["group a 2 r0 r1\ngroup b 2 r2 r3\ngroup c any a b\nquorum c\n", VERIFIED],
    ["group a 2 r0 r1\ngroup b 2 r2 r3\ngroup c all a b\nquorum c\n", "quorum-missing"],
    ["group a 1 r0 r3\ngroup b 1 r2\ngroup c 2 a b\nquorum c\n",
      "verified, not fresh: 2 of 3 replicas, entry 5"],
  ];
  for (const [text, outcome] of cases) {
    assert.equal(await judge({ ...(await sealed(PLAIN)), policy: nested(text) }), outcome);
  }
  const deep = (depth) => {
    const lines = ["group g1 1 r0"];
    for (let at = 2; at <= depth; at += 1) lines.push(`group g${at} 1 g${at - 1}`);
    return nested(`${lines.join("\n")}\nquorum g${depth}\n`);
  };
  const whole = await sealed(PLAIN);
  assert.match(await judge({ ...whole, policy: deep(32) }), /^verified, .* 1 of 1/);
  assert.equal(await judge({ ...whole, policy: deep(33) }), "policy-nesting");
});

// ---- Platforms

test("without WebCrypto, or without Ed25519 in it, nothing is accepted", async () => {
  const original = Object.getOwnPropertyDescriptor(globalThis, "crypto");
  const { subtle } = globalThis.crypto;
  const without = {
    digest: (...parts) => subtle.digest(...parts),
    importKey: async () => {
      throw new DOMException("Unrecognized name.", "NotSupportedError");
    },
    verify: async () => true,
  };
  try {
    for (const [crypto, code] of [
      [undefined, "webcrypto-unavailable"],
      [{}, "webcrypto-unavailable"],
      [{ subtle: without }, "ed25519-unavailable"],
    ]) {
      Object.defineProperty(globalThis, "crypto", { value: crypto, configurable: true });
      assert.equal(await judge(example()), code);
    }
  } finally {
    Object.defineProperty(globalThis, "crypto", original);
  }
  assert.equal(await judge(example()), "verified: 3 of 4 replicas, entry 5");
});
