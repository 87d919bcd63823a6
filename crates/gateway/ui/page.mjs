// The operations page: asks this replica every two seconds how it is, and shows it.

import { connect, moment } from "./checker.mjs";
import { chargeOf, copyOf, isLiar } from "./standing.mjs";
import { NotVerified, parsePolicy, verifyCheckpoint } from "./verify.mjs";

const PERIOD_MS = 2000;
const ENTRIES_SHOWN = 20;
const BUNDLE = 256;
const PUBLISHED = "/.well-known/quorate";

const at = (id) => document.getElementById(id);
const say = (id, text, kind = "") => {
  const place = at(id);
  place.textContent = text;
  place.classList.remove("good", "bad", "warn");
  if (kind) place.classList.add(kind);
};

function element(name, content, kind = "") {
  const made = document.createElement(name);
  made.className = kind;
  made.append(...[content].flat());
  return made;
}

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${path} is answered with status ${answer.status}`);
  return answer;
}

/** What does not change while the page stays open: read once. */
let policy;

async function refresh(seen) {
  const status = await (await ask("/status")).json();
  showStatus(status);
  const size = status.last_head?.size ?? 0;
  if (size !== seen) {
    policy ??= await readPolicy();
    await Promise.all([showHead(), showEntries(size)]);
  }
  return size;
}

async function readPolicy() {
  const text = await (await ask(`${PUBLISHED}/policy`)).text();
  const area = at("checker").elements.namedItem("policy");
  if (area.value === "") area.value = text;
  return parsePolicy(text);
}

function showStatus(status) {
  const { replica, replicas, origin, engine, service, development } = status;
  document.title = `r${replica} \u2013 ${origin.split("/")[0]}`;
  say("title", `r${replica} of ${replicas}`);
  const keys = development ? " \u00b7 development keys" : "";
  say("subtitle", `${origin} \u00b7 ${engine} \u00b7 service ${service}${keys}`);
  say("version", `Quorate ${status.version}`);
  say("ready", status.ready ? "ready" : "not ready", status.ready ? "good" : "warn");
  say("reason", status.reason ?? "a request sent here would be ordered");
  say("view", String(status.view));
  say("primary", `led by r${status.primary}`);
  say("height", String(status.height));
  const behind = `${status.lag} behind the highest known`;
  say("lag", status.lag === 0 ? "caught up" : behind, status.lag === 0 ? "" : "warn");
  showReplicas(status);
  showDivergent(status.divergent);
}

function showReplicas(status) {
  const { replica, primary, peers, divergent, operations } = status;
  at("copies").hidden = !status.copy;
  const own = { id: replica, connected: true, operations, own: true };
  const all = [...peers, own].sort((one, other) => one.id - other.id);
  const rows = all.map((peer) => {
    const link = peer.own ? "this one" : peer.connected ? "up" : "down";
    const isDivergent = divergent.some((one) => one.id === peer.id && isLiar(one));
    const copy = copyOf(peer.id, status);
    const standing = [
      ...(peer.id === primary ? ["primary"] : []), ...(isDivergent ? ["divergent"] : []),
    ].join(", ");
    return element("tr", [
      element("td", `r${peer.id}`),
      element("td", link, peer.connected ? "good" : "bad"),
      element("td", standing, isDivergent ? "bad" : ""),
      ...(copy ? [element("td", copy.text, copy.kind)] : []),
      element("td", peer.operations && !peer.own ? linkTo(peer.operations) : ""),
    ]);
  });
  at("replicas").replaceChildren(...rows);
}

/** Another replica's own page; nothing but http and https is made a link. */
function linkTo(operations) {
  if (!/^https?:\/\//.test(operations)) return operations;
  const link = element("a", operations);
  link.href = `${operations}/ui`;
  return link;
}

let shownDivergent;

function showDivergent(divergent) {
  // What did not change stays, so that an unfolded piece of evidence does.
  const text = JSON.stringify(divergent);
  if (text === shownDivergent) return;
  shownDivergent = text;
  const shown = divergent.map(({ id, evidence }) => element("details", [
    element("summary", `r${id} ${chargeOf(evidence)}`, "bad"),
    element("pre", JSON.stringify(evidence, null, 2)),
  ]));
  at("divergent").replaceChildren(...(shown.length > 0 ? shown : [
    element("p", "No replica is known to have diverged.", "note"),
  ]));
}

async function showHead() {
  const checkpoint = await (await ask(`${PUBLISHED}/log/checkpoint`)).text();
  try {
    const { size, signers, replicas } = await verifyCheckpoint({ policy, checkpoint });
    say("head", `${size} entries`);
    say("signed", `signed by ${signers} of ${replicas}, checked here`, "good");
  } catch (error) {
    if (!(error instanceof NotVerified)) throw error;
    say("head", "not verified", "bad");
    say("signed", `${error.message} [${error.code}]`, "bad");
  }
}

async function showEntries(size) {
  const texts = [];
  for (let bundle = Math.ceil(size / BUNDLE) - 1; bundle >= 0; bundle -= 1) {
    const width = Math.min(size - bundle * BUNDLE, BUNDLE);
    const part = width === BUNDLE ? "" : `.p/${width}`;
    const answer = await ask(`${PUBLISHED}/log/tile/entries/${tilePath(bundle)}${part}`);
    texts.unshift(...entriesOf(new Uint8Array(await answer.arrayBuffer())));
    if (texts.length >= ENTRIES_SHOWN) break;
  }
  at("entries").replaceChildren(...texts.slice(-ENTRIES_SHOWN).reverse().map(entryRow));
}

/** C2SP tlog-tiles: three digits a part, all but the last marked by an x. */
function tilePath(number) {
  const digits = String(number);
  const parts = digits.padStart(Math.ceil(digits.length / 3) * 3, "0").match(/.../g);
  return parts.map((part, place) => (place < parts.length - 1 ? `x${part}` : part)).join("/");
}

/** An entry bundle: each entry behind its length in two bytes. */
function entriesOf(bytes) {
  const texts = [];
  for (let start = 0; start + 2 <= bytes.length; ) {
    const end = start + 2 + bytes[start] * 256 + bytes[start + 1];
    texts.push(new TextDecoder().decode(bytes.subarray(start + 2, end)));
    start = end;
  }
  return texts;
}

function entryRow(text) {
  const [kind, ...lines] = text.split("\n");
  const facts = new Map(lines.map((line) => line.split(" ")));
  const short = (value) => value?.replace(/^sha-256=:(.{12}).*:$/, "$1\u2026") ?? "";
  const commitment = facts.get("exchange") ?? facts.get("policy") ?? facts.get("replica");
  return element("tr", [
    element("td", facts.get("index") ?? "", "number"),
    element("td", kind.replace(/^quorate-|\/1$/g, "")),
    element("td", moment(facts.get("time"))),
    element("td", short(commitment), "hash"),
    element("td", short(facts.get("state")), "hash"),
  ]);
}

connect(at("checker"));
let seen;
for (;;) {
  try {
    seen = await refresh(seen);
    at("alarm").hidden = true;
  } catch (error) {
    say("alarm", `What stands here is old: ${error.message}`);
    at("alarm").hidden = false;
    seen = undefined;
  }
  await new Promise((wake) => setTimeout(wake, PERIOD_MS));
}
