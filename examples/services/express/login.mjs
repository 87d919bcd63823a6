// PORT=9000 node login.mjs
//
// A basket in a session of express-session, which the client's cookie names.

import express from "express";
import session from "express-session";
import { createHmac, randomUUID } from "node:crypto";

const secret = "the same at all copies, so that each knows the sessions of all";

// All copies have to draw the same name. Who does not know the secret cannot guess it.
const genid = (request) =>
  createHmac("sha256", secret).update(request.get("Quorate-Seed") ?? randomUUID()).digest("hex");

const app = express();
app.use(express.urlencoded());
app.use(session({ genid, secret, resave: false, saveUninitialized: false }));

app.post("/login", ({ session, body }, response) => {
  if (!body?.user) return response.status(400).send("Who are you?\n");
  Object.assign(session, { user: body.user, basket: [] });
  response.send(`Welcome, ${session.user}\n`);
});

app.post("/basket", ({ session, body }, response) => {
  if (!session.user) return response.status(401).send("Who are you?\n");
  session.basket.push(body.item);
  response.json(session.basket);
});

app.get("/basket", ({ session: { user, basket } }, response) => {
  response.json({ user: user ?? null, basket: basket ?? null });
});

const { PORT } = process.env;
app.listen(PORT, "127.0.0.1", () => console.log(`baskets at ${PORT}`));
