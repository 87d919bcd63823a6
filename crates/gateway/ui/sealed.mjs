// For tests: a quorum with keys of its own, which seals exchanges that are written out by hand.

import { readFileSync } from "node:fs";

const { subtle } = globalThis.crypto;
const utf8 = (text) => new TextEncoder().encode(text);
const joined = (...parts) => Buffer.concat(parts.map((part) => Buffer.from(part)));
const sha256 = async (...parts) => Buffer.from(await subtle.digest("SHA-256", joined(...parts)));

export const ORIGIN = "shop.example/quorate/5f2c9a17d0e84b63/bft";
export const TIME_S = 1_763_658_123n;

/** The worked example: { policy, request, response }, each as bytes. */
export function example() {
  const folder = new URL("../../proof/testdata/example/", import.meta.url);
  const read = (name) => new Uint8Array(readFileSync(new URL(name, folder)));
  return {
    policy: read("policy.txt"), request: read("request.http"), response: read("response.http"),
  };
}

/** A verifier key: { name, kind, id, text, sign }. */
async function makeKey(name, kind) {
  const pair = await subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  const material = joined([kind], new Uint8Array(await subtle.exportKey("raw", pair.publicKey)));
  return { ...(await named(name, material)), sign: (bytes) =>
    subtle.sign("Ed25519", pair.privateKey, bytes) };
}

/** A name with a type and a key: { name, id, text }. */
export async function named(name, material) {
  const id = (await sha256(utf8(`${name}\n`), material)).subarray(0, 4);
  return { name, id, text: `${name}+${id.toString("hex")}+${joined(material).toString("base64")}` };
}

/** Four replicas, and what they can be made to sign. */
export async function makeQuorum(origin = ORIGIN) {
  const replicas = [0, 1, 2, 3];
  const logs = await Promise.all(replicas.map(() => makeKey(origin, 1)));
  const witnesses = await Promise.all(
    replicas.map((replica) => makeKey(`org-${replica}.example/r${replica}`, 4)),
  );
  const keys = [
    ...logs.map((key) => `log ${key.text}\n`),
    ...witnesses.map((key, replica) => `witness r${replica} ${key.text}\n`),
  ].join("");
  const line = ({ name, id }, ...parts) =>
    `\u2014 ${name} ${joined(id, ...parts).toString("base64")}\n`;
  return {
    origin, keys, line, witnesses,
    policy: `${keys}group replicas 3 r0 r1 r2 r3\nquorum replicas\n`,
    logLine: async (replica, head) => line(logs[replica], await logs[replica].sign(utf8(head))),
    cosignerLine: async (replica, head, time = TIME_S) => {
      const key = witnesses[replica];
      const stamp = Buffer.alloc(8);
      stamp.writeBigUInt64BE(time);
      return line(key, stamp, await key.sign(utf8(`cosignature/v1\ntime ${time}\n${head}`)));
    },
  };
}

/**
 * Seals a text as entry 5 of a log of seven: { head, proof, fields }. `proof` gives the proof text
 * with these signature lines below the head, `fields` Quorate's own with this proof text.
 */
export async function seal(exchange, { origin }) {
  const salt = Uint8Array.from({ length: 16 }, (_, at) => at);
  const state = `sha-256=:${Buffer.alloc(32, 9).toString("base64")}:`;
  const digest = (await sha256(salt, utf8(exchange))).toString("base64");
  const entry = "quorate-exchange/1\nindex 5\nepoch 0\ntime 1763658123456\n" +
    `state ${state}\nexchange sha-256=:${digest}:\n`;
  const leaf = (bytes) => sha256([0], bytes);
  const node = (left, right) => sha256([1], left, right);
  const others = await Promise.all([0, 1, 2, 3, 4, 6].map((at) => leaf([at])));
  const [a, b, c, d, e, g] = others;
  const left = await node(await node(a, b), await node(c, d));
  const middle = await node(e, await leaf(utf8(entry)));
  const path = [e, g, left].map((hash) => `${hash.toString("base64")}\n`).join("");
  const root = await node(left, await node(middle, g));
  const head = `${origin}\n7\n${root.toString("base64")}\n`;
  return {
    head,
    proof: (lines) => `c2sp.org/tlog-proof@v1\nindex 5\n${path}\n${head}\n${lines}`,
    fields: (proof) => [
      ["Quorate-Index", "5"],
      ["Quorate-Epoch", "0"],
      ["Quorate-Time", "1763658123456"],
      ["Quorate-State", state],
      ["Quorate-Salt", `:${Buffer.from(salt).toString("base64")}:`],
      ["Quorate-Proof", `:${Buffer.from(proof).toString("base64")}:`],
    ],
  };
}

/** The signature lines of log key 0 and of these cosigners. */
export async function signatures(quorum, head, signers = [0, 1, 2]) {
  const lines = [await quorum.logLine(0, head)];
  for (const signer of signers) lines.push(await quorum.cosignerLine(signer, head));
  return lines.join("");
}

/** `sha-256=:..:` of a content. */
export async function digestOf(content) {
  return `sha-256=:${(await sha256(utf8(content))).toString("base64")}:`;
}
