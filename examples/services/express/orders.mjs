// PORT=9000 node orders.mjs
import express from "express";

const [app, orders] = [express(), []];
app.use(express.json());

app.post("/orders", (request, response) => {
  orders.push({ id: orders.length + 1, ...request.body });
  response.status(201).json(orders.at(-1));
});

app.get("/orders", (request, response) => response.json(orders));

const { PORT } = process.env;
app.listen(PORT, "127.0.0.1", () => console.log(`orders at ${PORT}`));
