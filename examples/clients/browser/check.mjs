// node check.mjs POLICY GATEWAY OPERATIONS [FOLDER]
//
// Looks at this page, and at the operations listener's, in a headless Chromium (the installed one,
// or $QUORATE_CHROMIUM), against a development cluster of four: the gateway and the operations
// listener of r0. With a folder it leaves screenshots there. `--has-browser` asks for one only.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findBrowser, openPage } from "../../../crates/gateway/ui/chromium.mjs";
import { fetchVerified } from "../javascript/fetch.mjs";

const [policyFile, gateway, operations, folder] = process.argv.slice(2);
const browser = findBrowser();
if (policyFile === "--has-browser") process.exit(browser === undefined ? 1 : 0);
assert.ok(browser, "no Chromium is installed; QUORATE_CHROMIUM may name one");
const policy = readFileSync(policyFile, "utf8");

/** The operations listener, or the gateway, of another replica. */
const neighbour = (url, replica) => {
  const { protocol, hostname, port } = new URL(url);
  return `${protocol}//${hostname}:${Number(port) + replica}`;
};

/** Serves the repository's files to this machine. */
async function serveFiles() {
  const root = fileURLToPath(new URL("../../../", import.meta.url));
  const kinds = { html: "text/html", css: "text/css", mjs: "text/javascript" };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const path = pathname.endsWith("/") ? `${pathname}index.html` : pathname;
    const kind = kinds[path.split(".").at(-1)];
    if (kind === undefined) return response.writeHead(404).end();
    return response.writeHead(200, { "content-type": kind }).end(readFileSync(join(root, path)));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

/** Fills a form and sends it; the first line of the verdict. */
async function submit(page, form, values) {
  const place = `document.getElementById(${JSON.stringify(form)})`;
  await page.run(`${place}.querySelector("output").replaceChildren()`);
  for (const [name, value] of Object.entries(values)) {
    const field = `${place}.elements.namedItem(${JSON.stringify(name)})`;
    await page.run(`${field}.value = ${JSON.stringify(value)}`);
    await page.run(`${field}.dispatchEvent(new Event("input"))`);
  }
  await page.run(`${place}.requestSubmit()`);
  return page.until(`${place}.querySelector("output strong")?.textContent`);
}

/** A message as it looks in a text area. */
function asPasted(start, fields, body) {
  const content = new TextDecoder().decode(body);
  const lines = [...fields, ["Content-Length", body.length]].map((field) => field.join(": "));
  return `${[start, ...lines].join("\n")}\n\n${content}\n`;
}

async function shoot(page, name) {
  if (folder) writeFileSync(join(folder, name), await page.screenshot());
}

async function checkExample(page) {
  const url = `${gateway}/kv/greeting`;
  const verdict = await submit(page, "asker", { policy, url });
  assert.match(verdict, /^verified: 3 of 4 replicas, entry [0-9]+ \(development keys\)$/);
  assert.equal(await page.run('document.getElementById("content").textContent'), "hello");
  console.log("the page fetches and verifies");
  await shoot(page, "browser.png");

  const other = `${neighbour(gateway, 2)}/kv/greeting`;
  assert.match(await submit(page, "asker", { url: other }), /^not verified: the entry is not in/);
  assert.equal(await page.run('document.getElementById("content").textContent'), "");
  console.log("the page shows nothing of what a liar says");
}

async function checkOperations(page, { request, response }) {
  const text = (id) => `document.getElementById(${JSON.stringify(id)}).textContent`;
  await page.until(`${text("signed")} === "signed by 3 of 4, checked here"`);
  assert.equal(await page.run(text("title")), "r0 of 4");
  assert.equal(await page.run(text("ready")), "ready");
  assert.match(await page.run(text("subtitle")), /^dev\.localhost\/quorate\/.* kv .* keys$/);
  assert.equal(await page.run('document.querySelectorAll("#replicas tr").length'), 4);
  await page.until('document.querySelectorAll("#entries tr").length >= 2');
  const cells = 'document.querySelectorAll("#entries td:nth-child(2)")';
  const shown = await page.run(`Array.from(${cells}, (cell) => cell.textContent)`);
  assert.ok(shown.every((kind) => /^(exchange|policy|mark|rejoin)$/.test(kind)), `${shown}`);
  assert.ok(shown.includes("exchange"));
  console.log("the operations page shows replicas, view, head and entries");

  await page.until(`${text("divergent")}.startsWith("r2 diverged: wrong-result")`);
  console.log("the operations page names the liar");

  const { method, path, fields, body } = request;
  const exchange = {
    request: asPasted(`${method} ${path} HTTP/1.1`, [["Host", "a"], ...fields], body),
    response: asPasted(`HTTP/1.1 ${response.status} OK`, response.fields.filter(
      ([name]) => name !== "content-length"), response.body),
  };
  assert.match(await submit(page, "checker", exchange), /^verified: 3 of 4 replicas, entry/);
  await shoot(page, "ui.png");
  await page.dark(true);
  await shoot(page, "ui-dark.png");
  await page.dark(false);
  const changed = { ...exchange, response: exchange.response.replace("hello", "hallo") };
  assert.equal(await submit(page, "checker", changed),
    "not verified: the response's Content-Digest is not that of its content");
  console.log("the operations page verifies what is pasted, and refuses a changed byte");
}

const put = { policy, method: "PUT", body: "hello" };
await fetchVerified(`${gateway}/kv/greeting`, put);
const fault = (method, body) => fetch(`${neighbour(operations, 2)}/fault`, {
  method, body, headers: body ? { "content-type": "application/json" } : {},
});
const server = await serveFiles();
const opened = [];
const open = async (url) => {
  opened.push(await openPage(browser, url));
  return opened.at(-1);
};
try {
  await fault("POST", '{"fault":"corrupt-responses"}');
  const { port } = server.address();
  await checkExample(await open(`http://localhost:${port}/examples/clients/browser/`));
  const exchange = await fetchVerified(`${gateway}/kv/greeting`, { policy });
  await checkOperations(await open(`${operations}/ui`), exchange);
} finally {
  await Promise.all(opened.map((page) => page.close()));
  await fault("DELETE");
  server.closeAllConnections();
  server.close();
}
