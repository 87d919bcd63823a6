// For tests: a page in a headless Chromium, over its debugging pipe.

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** The browser: $QUORATE_CHROMIUM, or one that is installed; undefined where there is none. */
export function findBrowser() {
  const names = process.env.QUORATE_CHROMIUM ? [process.env.QUORATE_CHROMIUM] : NAMES;
  return names.find((name) => spawnSync(name, ["--version"], { timeout: 20_000 }).status === 0);
}

/** Opens a page: { run, until, screenshot, dark, close }. */
export async function openPage(browser, url, { width = 1100, height = 1400 } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "quorate-browser-"));
  const child = spawn(browser, [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--hide-scrollbars", `--user-data-dir=${folder}`, "--remote-debugging-pipe", "about:blank",
  ], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
  const { ask, close } = connection(child, folder);
  const { targetInfos } = await ask("Target.getTargets");
  const { targetId } = targetInfos.find(({ type }) => type === "page");
  const { sessionId } = await ask("Target.attachToTarget", { targetId, flatten: true });
  const tell = (method, params) => ask(method, params, sessionId);
  await tell("Page.enable");
  const size = { width, height, deviceScaleFactor: 1, mobile: false };
  await tell("Emulation.setDeviceMetricsOverride", size);
  await tell("Page.navigate", { url });

  /** The value of an expression in the page, awaited there. */
  const run = async (expression) => {
    const answer = await tell("Runtime.evaluate", {
      expression, awaitPromise: true, returnByValue: true,
    });
    if (answer.exceptionDetails) {
      const { exception, text } = answer.exceptionDetails;
      throw new Error(`${expression}: ${exception?.description ?? text}`);
    }
    return answer.result.value;
  };
  /** Waits until an expression holds. */
  const until = async (expression) => {
    for (let tries = 0; tries < 150; tries += 1) {
      const value = await run(expression).catch(() => undefined);
      if (value) return value;
      await new Promise((wake) => setTimeout(wake, 100));
    }
    throw new Error(`not within 15 s: ${expression}`);
  };
  const dark = (isDark) => tell("Emulation.setEmulatedMedia", {
    features: [{ name: "prefers-color-scheme", value: isDark ? "dark" : "light" }],
  });
  /** The whole page as PNG. */
  const screenshot = async () => {
    const { data } = await tell("Page.captureScreenshot", { captureBeyondViewport: true });
    return Buffer.from(data, "base64");
  };
  await until('location.href !== "about:blank" && document.readyState === "complete"');
  return { run, until, screenshot, dark, close };
}

/** Requests and answers as JSON between NULs, on file descriptors 3 and 4 of the browser. */
function connection(child, folder) {
  const [, , , input, output] = child.stdio;
  const waiting = new Map();
  let [number, rest] = [0, ""];
  output.setEncoding("utf8");
  output.on("data", (text) => {
    const messages = (rest + text).split("\0");
    rest = messages.pop();
    for (const { id, result, error } of messages.map((message) => JSON.parse(message))) {
      const { resolve, reject } = waiting.get(id) ?? {};
      waiting.delete(id);
      if (error) reject?.(new Error(error.message));
      else resolve?.(result);
    }
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  ended.then(() => waiting.forEach(({ reject }) => reject(new Error("the browser ended"))));
  input.on("error", () => {});
  const ask = (method, params = {}, sessionId = undefined) =>
    new Promise((resolve, reject) => {
      number += 1;
      waiting.set(number, { resolve, reject });
      input.write(`${JSON.stringify({ id: number, method, params, sessionId })}\0`);
    });
  const close = async () => {
    child.kill("SIGKILL");
    await ended;
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  return { ask, close };
}
