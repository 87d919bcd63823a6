import assert from "node:assert/strict";
import { test } from "node:test";
import { chargeOf, copyOf, isLiar } from "./standing.mjs";

const charge = { id: 3, evidence: { charge: "wrong-result" } };
const status = (standing, ...divergent) => ({
  replica: 0, copy: { url: "http://127.0.0.1:9000", standing }, divergent,
});

test("a service that runs inside has no copies", () => {
  assert.equal(copyOf(0, { replica: 0, divergent: [charge] }), undefined);
});

test("copies that did as was agreed on are told so", () => {
  assert.deepEqual(copyOf(0, status("in-step")), { text: "in step", kind: "good" });
  assert.deepEqual(copyOf(1, status("in-step")), { text: "agrees", kind: "good" });
  assert.deepEqual(copyOf(3, status("in-step", charge)), { text: "agrees", kind: "good" });
});

test("the own copy is shown as its replica knows it", () => {
  assert.deepEqual(copyOf(0, status("restoring")), { text: "restoring", kind: "warn" });
  const silent = { id: 0, evidence: { copy: "silent", slot: 7 } };
  const expected = { text: "fenced, gave no answer in slot 7", kind: "bad" };
  assert.deepEqual(copyOf(0, status("fenced", silent)), expected);
});

test("another's copy that stands apart is named, and is no liar", () => {
  const differs = { id: 2, evidence: { copy: "differs", slot: 9 } };
  const expected = { text: "answered otherwise in slot 9", kind: "bad" };
  assert.deepEqual(copyOf(2, status("fenced", differs)), expected);
  assert.deepEqual([isLiar(differs), isLiar(charge)], [false, true]);
  assert.equal(chargeOf(differs.evidence), "has a copy of the service that answered otherwise");
  assert.equal(chargeOf(charge.evidence), "diverged: wrong-result");
  assert.equal(chargeOf(undefined), "diverged: see the evidence");
});
