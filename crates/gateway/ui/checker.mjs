// The box that verifies an exchange which somebody pasted or chose as files.

import { NotVerified, sentence, verify } from "./verify.mjs";

/**
 * A saved message as bytes, from what a text area makes of it: every end of line has become LF, and
 * people copy one too many or one too few. The header's lines get their CR back, and the content is
 * cut or ended by one LF where its `Content-Length` asks for exactly that. What is guessed here is
 * checked afterwards: a digest covers the content, and the exchange the header.
 */
export function pasted(text) {
  const [head, content] = halves(text.replace(/\r\n/g, "\n").replace(/^\n+/, ""));
  const bytes = new TextEncoder().encode(content);
  const length = Number(/^content-length:[ \t]*([0-9]+)[ \t]*$/im.exec(head)?.[1] ?? 0);
  let body = bytes;
  if (bytes.length === length + 1 && bytes.at(-1) === 10) body = bytes.subarray(0, length);
  if (bytes.length > 0 && bytes.length + 1 === length) body = Uint8Array.from([...bytes, 10]);
  const lines = new TextEncoder().encode(`${head.replace(/\n/g, "\r\n")}\r\n\r\n`);
  const message = new Uint8Array(lines.length + body.length);
  message.set(lines);
  message.set(body, lines.length);
  return message;
}

/** Around the first empty line. */
function halves(text) {
  const at = text.indexOf("\n\n");
  return at < 0 ? [text.replace(/\n$/, ""), ""] : [text.slice(0, at), text.slice(at + 2)];
}

/** A policy, whose last line's end gets lost when it is copied. */
export function pastedPolicy(text) {
  const lines = text.replace(/\r\n/g, "\n").trim();
  return lines === "" ? "" : `${lines}\n`;
}

/** The verdict on what was given: { good, text, details }. */
export async function judge({ policy, request, response }) {
  try {
    const verdict = await verify({ policy, request, response });
    const { names, time, state, size } = verdict;
    return {
      good: true,
      text: sentence(verdict),
      details: [
        ["signed by", names.join(", ")],
        ["agreed at", moment(time)],
        ["head", `${size} entries`],
        ["state", state],
      ],
    };
  } catch (error) {
    if (!(error instanceof NotVerified)) throw error;
    return { good: false, text: `not verified: ${error.message}`, details: [["code", error.code]] };
  }
}

/** Unix milliseconds as a person reads them. */
export function moment(ms) {
  const date = new Date(Number(ms));
  return Number.isNaN(date.getTime()) ? `${ms} ms` : date.toISOString().replace("T", " ");
}

/** Shows a verdict. */
export function show(output, { good, text, details }) {
  const { ownerDocument: page } = output;
  const line = page.createElement("strong");
  line.textContent = text;
  const list = page.createElement("dl");
  for (const [name, value] of details) {
    const [term, description] = [page.createElement("dt"), page.createElement("dd")];
    term.textContent = name;
    description.textContent = value;
    list.append(term, description);
  }
  output.className = good ? "verdict good" : "verdict bad";
  output.replaceChildren(line, list);
}

/**
 * Makes a form work that has text areas `policy`, `request` and `response`, a file input
 * `NAME-file` for each, and an `output`. A file counts as it is, byte for byte.
 */
export function connect(form) {
  const files = new Map();
  const fields = ["policy", "request", "response"].map((name) => form.elements.namedItem(name));
  for (const area of fields) {
    const chooser = form.elements.namedItem(`${area.name}-file`);
    chooser.addEventListener("change", async () => {
      const file = chooser.files[0];
      if (file === undefined) return;
      const bytes = new Uint8Array(await file.arrayBuffer());
      area.value = new TextDecoder().decode(bytes);
      files.set(area.name, bytes);
    });
    area.addEventListener("input", () => files.delete(area.name));
  }
  const given = ({ name, value }) =>
    files.get(name) ?? (name === "policy" ? pastedPolicy(value) : pasted(value));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const output = form.querySelector("output");
    try {
      const parts = fields.map((area) => [area.name, given(area)]);
      show(output, await judge(Object.fromEntries(parts)));
    } catch (error) {
      show(output, { good: false, text: `not verified: ${error}`, details: [] });
    }
  });
}
