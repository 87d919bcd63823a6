// node --test crates/gateway/ui/checker.test.mjs

import assert from "node:assert/strict";
import { test } from "node:test";
import { judge, moment, pasted, pastedPolicy } from "./checker.mjs";
import { example } from "./sealed.mjs";

const text = (bytes) => Buffer.from(bytes).toString("utf8");

/** As a text area has it: every end of line is one LF. */
const asPasted = (bytes) => text(bytes).replace(/\r\n?/g, "\n");

test("a saved message is the same after it was pasted", () => {
  const { request, response } = example();
  for (const file of [request, response]) {
    for (const change of [
      (pasted) => pasted, (pasted) => `${pasted}\n`, (pasted) => pasted.replace(/\n$/, ""),
      (pasted) => `\n${pasted}`,
    ]) {
      assert.equal(text(pasted(change(asPasted(file)))), text(file));
    }
    assert.equal(text(pasted(text(file))), text(file));
  }
});

test("content is not guessed beyond one end of line", () => {
  const message = (content) => `HTTP/1.1 200 OK\nContent-Length: 3\n\n${content}`;
  const content = (given) => text(pasted(message(given))).split("\r\n\r\n")[1];
  for (const [given, expected] of [
    ["abc", "abc"], ["abc\n", "abc"], ["ab", "ab\n"], ["a", "a"], ["abc\n\n", "abc\n\n"],
    ["abcd", "abcd"], ["", ""],
  ]) {
    assert.equal(content(given), expected, JSON.stringify(given));
  }
  assert.equal(text(pasted("GET / HTTP/1.1\nHost: a\n")), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
});

test("what was pasted is judged, and a changed byte is refused", async () => {
  const { policy, request, response } = example();
  const whole = {
    policy: pastedPolicy(text(policy).trim()),
    request: pasted(asPasted(request)),
    response: pasted(asPasted(response)),
  };
  const { good, text: line, details } = await judge(whole);
  assert.deepEqual([good, line], [true, "verified: 3 of 4 replicas, entry 5"]);
  assert.equal(new Map(details).get("agreed at"), "2025-11-20 17:02:03.456Z");
  const changed = pasted(asPasted(response).replace("accepted", "rejected"));
  const verdict = await judge({ ...whole, response: changed });
  assert.equal(verdict.good, false);
  assert.match(verdict.text, /^not verified: /);
  assert.deepEqual(verdict.details, [["code", "content-digest-wrong"]]);
  assert.equal((await judge({ ...whole, policy: pastedPolicy(" ") })).good, false);
});

test("a time that no calendar holds is shown as its number", () => {
  assert.equal(moment(0), "1970-01-01 00:00:00.000Z");
  assert.equal(moment(2n ** 62n), "4611686018427387904 ms");
});
