// Asks a gateway and believes nothing that is not verified; for browsers and Node alike.

import { NotVerified, verify } from "../../../crates/gateway/ui/verify.mjs";

/** The gateway answered by itself: nothing was ordered, and nothing is proven. */
export class Refused extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.name = "Refused";
    this.status = status;
    this.code = code;
  }
}

/**
 * Fetches `url` and verifies the answer: { verdict, request, response }, with `response.body` as
 * bytes. Throws `NotVerified`, or `Refused`. With `maxAge` (in seconds), what was answered longer
 * ago than that is not believed either.
 */
export async function fetchVerified(url, { policy, method = "GET", fields = [], body, maxAge }) {
  const { pathname, search } = new URL(url);
  const request = {
    method,
    path: pathname,
    query: search || "?",
    // What a platform would add by itself and the exchange covers is said here, so that it is
    // known; the key, 128 random bits, lets no old answer fit.
    fields: withDefaults(fields, {
      "accept": "*/*",
      "accept-language": "*",
      "idempotency-key": `"${crypto.randomUUID()}"`,
      "prefer": "proof=inline",
    }),
    body: typeof body === "string" ? new TextEncoder().encode(body) : body ?? new Uint8Array(),
  };
  const answer = await fetch(url, {
    method,
    headers: request.fields,
    body: request.body.length > 0 ? request.body : undefined,
    credentials: "omit", // A page cannot know which cookies went with its request.
    redirect: "manual", // An answer that redirects is an answer, with a proof of its own.
    cache: "no-store",
  });
  if (answer.type === "opaqueredirect") {
    throw new NotVerified("redirect-hidden", "a redirect, which browsers hide from pages");
  }
  const response = {
    status: answer.status,
    fields: [...answer.headers],
    body: new Uint8Array(await answer.arrayBuffer()),
  };
  throwRefusal(answer, response.body);
  const verdict = await verify({ policy, request, response });
  if (maxAge !== undefined && Date.now() - Number(verdict.time) > maxAge * 1000) {
    throw new NotVerified("too-old", `answered at ${new Date(Number(verdict.time)).toISOString()}`);
  }
  return { verdict, request, response };
}

/** `fields`, and each default whose name does not stand there. */
function withDefaults(fields, defaults) {
  const given = new Set(fields.map(([name]) => name.toLowerCase()));
  return [...fields, ...Object.entries(defaults).filter(([name]) => !given.has(name))];
}

/** A problem document that says itself that it is not proven. */
function throwRefusal(answer, body) {
  if (answer.headers.get("content-type") !== "application/problem+json") return;
  if (answer.headers.has("quorate-index")) return;
  let problem;
  try {
    problem = JSON.parse(new TextDecoder().decode(body));
  } catch {
    return;
  }
  if (problem?.proven === false) throw new Refused(answer.status, problem.code, problem.detail);
}
