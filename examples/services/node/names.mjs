// node names.mjs 127.0.0.1:9000
//
// A little registry of names over HTTP, of Node's standard library alone: who comes first owns a
// name. POST /names, GET /names, GET /names/tea, GET /total. It knows nothing of quorums.

import { createServer } from "node:http";

const names = new Map();

const nothing = [404, { error: "there is no such thing" }];

function create(content) {
  let asked;
  try {
    asked = JSON.parse(content);
  } catch {
    asked = null;
  }
  const { name, owner } = asked ?? {};
  if (typeof name !== "string" || typeof owner !== "string" || !/^[a-z0-9-]{1,63}$/.test(name)) {
    return [400, { error: "a registration has a name and an owner" }];
  }
  if (names.has(name)) {
    return [409, { error: "taken", owner: names.get(name).owner }];
  }
  const registration = { name, owner, number: names.size + 1 };
  names.set(name, registration);
  return [201, registration];
}

function read(path) {
  if (path === "/names") return [200, [...names.values()]];
  if (path === "/total") return [200, { names: names.size }];
  const found = path.startsWith("/names/") ? names.get(path.slice("/names/".length)) : undefined;
  return found ? [200, found] : nothing;
}

function answerTo({ method, url }, content) {
  if (method === "GET") return read(url);
  if (method === "POST" && url === "/names") return create(content);
  if (method === "POST" && url === "/internal/reset") {
    names.clear();
    return [200, { names: 0 }];
  }
  return nothing;
}

const server = createServer(async (request, response) => {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  const [status, value] = answerTo(request, Buffer.concat(pieces).toString());
  const fields = { "Content-Type": "application/json" };
  if (status === 201) fields.Location = `/names/${value.name}`;
  response.writeHead(status, fields).end(`${JSON.stringify(value)}\n`);
});

const [, host, port] = process.argv[2].match(/^(.*):(\d+)$/);
server.listen(Number(port), host, () => console.log(`names at ${process.argv[2]}`));
