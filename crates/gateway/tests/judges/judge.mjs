// Judges saved exchanges with ui/verify.mjs: one JSON object a line, in and out.

import { createInterface } from "node:readline";
import { NotVerified, verify } from "../../ui/verify.mjs";

for await (const line of createInterface({ input: process.stdin })) {
  const parts = Object.entries(JSON.parse(line));
  const files = parts.map(([name, text]) => [name, new Uint8Array(Buffer.from(text, "base64"))]);
  try {
    const { signers, replicas, index, fresh } = await verify(Object.fromEntries(files));
    console.log(JSON.stringify({ signers, replicas, index, fresh }));
  } catch (error) {
    if (!(error instanceof NotVerified)) throw error;
    console.log(JSON.stringify({ refused: error.code }));
  }
}
