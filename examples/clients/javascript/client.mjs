// node client.mjs --policy policy.txt [-X METHOD] [-H 'name: value'].. [-d DATA] URL
//
// Prints the content of a verified answer, and the verdict on the standard error stream. Exit code
// 1 for a refusal or no answer, 2 for a mistake in the command, 3 for what is not verified.

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { NotVerified, parsePolicy, sentence } from "../../../crates/gateway/ui/verify.mjs";
import { Refused, fetchVerified } from "./fetch.mjs";

const USAGE = "usage: client.mjs --policy FILE [-X METHOD] [-H 'NAME: VALUE'].. [-d DATA] " +
  "[--max-age SECONDS] URL";

function usage() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      "policy": { type: "string" },
      "request": { type: "string", short: "X" },
      "header": { type: "string", short: "H", multiple: true, default: [] },
      "data": { type: "string", short: "d" },
      "max-age": { type: "string" },
    },
  });
  const maxAge = values["max-age"] === undefined ? undefined : Number(values["max-age"]);
  if (positionals.length !== 1 || !values.policy || Number.isNaN(maxAge)) throw new Error(USAGE);
  const fields = values.header.map((line) => {
    const [, name, value] = /^([^:]+):(.*)$/.exec(line) ?? [];
    if (name === undefined) throw new Error(`no header field: ${line}`);
    return [name, value.trim()];
  });
  return {
    url: new URL(positionals[0]),
    policy: readFileSync(values.policy),
    method: values.request ?? (values.data === undefined ? "GET" : "POST"),
    body: values.data,
    fields,
    maxAge,
  };
}

async function main() {
  let options;
  try {
    options = usage();
  } catch (error) {
    console.error(error.message);
    return 2;
  }
  try {
    const policy = await parsePolicy(options.policy);
    const { verdict, response } = await fetchVerified(options.url, { ...options, policy });
    process.stdout.write(response.body);
    console.error(sentence(verdict));
    return 0;
  } catch (error) {
    if (error instanceof NotVerified) {
      console.error(`not verified[${error.code}]: ${error.message}`);
      return 3;
    }
    if (error instanceof Refused) {
      console.error(`refused[${error.code}]: ${error.status}, ${error.message}`);
    } else {
      console.error(`no answer: ${error.cause?.message || error.message}`);
    }
    return 1;
  }
}

process.exitCode = await main();
