// Usage: node --test clients/typescript/serendip.test.mjs, with the address of a service in SERENDIP.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { ApiError, Client } from "./lib/serendip.js";

const address = process.env.SERENDIP;
const client = new Client(address);

/** A server that answers requests with these statuses, 0 = with none, then 200; their bodies. */
async function answering(statuses, run) {
  const bodies = [];
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      bodies.push(body);
      const status = statuses.length ? statuses.shift() : 200;
      if (!status) return request.socket.destroy();
      response.writeHead(status).end(status === 200 ? '{"items": []}' : "a proxy says no");
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await run(`http://127.0.0.1:${server.address().port}`, bodies);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test("one request has what a card shows, and items change", async () => {
  const items = [1, 2, 3].map((number) => ({
    item_id: `node/${number}`,
    title: `Copper Kettle ${number}`,
    attributes: { price: number },
  }));
  assert.equal((await client.addItems(items)).new, 3);
  const shown = await client.search({ q: "copper kettle", fields: ["price"], facet: ["price"], limit: 2 });
  assert.deepEqual(shown.facets.price, { values: {}, min: 1, max: 3 });
  const more = await client.search({ q: "copper kettle", fields: ["price"], cursor: shown.cursor, limit: 1 });
  const prices = [...shown.items, ...more.items].map((item) => item.attributes.price);
  assert.deepEqual(prices.sort(), [1, 2, 3]);
  assert.equal((await client.changeItem("node/1", { attributes: { price: 9 } })).attributes.price, 9);
  assert.equal((await client.getItem("node/1")).title, "Copper Kettle 1");
  assert.deepEqual((await client.getItems({ item_ids: ["node/2", "nothing"] })).unknown, ["nothing"]);
  assert.ok((await client.similar("i7", { limit: 3 })).items.length);
  assert.ok((await client.recommend({ user_id: "u1" })).items[0].reason);
  assert.ok((await client.suggest({ q: "copper" })).suggestions.length);
  assert.equal((await client.explain({ item_id: "i7" })).item_id, "i7");
  assert.ok((await client.listUsers({ limit: 1 })).users[0].num_events);
  assert.equal((await client.deleteItem("node/3")).deleted, true);
});

test("the catalogue comes whole from pages", async () => {
  const ids = [];
  for await (const item of client.allItems(7)) ids.push(item.item_id);
  assert.equal(new Set(ids).size, ids.length);
  assert.ok(ids.length >= 60);
});

test("an error says what the service says", async () => {
  await assert.rejects(client.getItem("nothing"), (error) => {
    assert.ok(error instanceof ApiError);
    assert.deepEqual([error.status, error.type], [404, "unknown_item"]);
    assert.match(error.message, /'nothing' is not in the catalogue/);
    assert.match(error.requestId, /^[0-9a-f]{16}$/);
    return true;
  });
});

test("refusals for now and lost connections are tried again, others are errors", async () => {
  await answering([503, 0, 429], async (away, bodies) => {
    assert.deepEqual(await new Client(away).search({ q: "x" }), { items: [] });
    assert.deepEqual(bodies, Array(4).fill('{"q":"x"}'));
  });
  await answering([502, 503], async (away) => {
    const hasty = new Client(away, { retries: 0 });
    await assert.rejects(hasty.search(), { status: 502, type: "proxy" });
    await assert.rejects(hasty.search(), { status: 503, type: "proxy" });
  });
});

test("recorded events are stored once though an invalid one is among them", async () => {
  for (let number = 0; number < 120; number++) {
    client.record({ user_id: "node", item_id: `i${number % 50}` });
  }
  client.record({ user_id: "node", item_id: "i51", value: "much" });
  client.record({ user_id: "node", item_id: "i52", event_id: "by-node" });
  while ((await client.flush()) > 0);
  await client.addEvents([{ user_id: "node", item_id: "i52", event_id: "by-node" }]);
  assert.equal((await client.getHistory("node", { limit: 1000 })).events.length, 121);
});

test("events wait for a service that is away and come once", async () => {
  await answering([503, 0, 502], async (away, bodies) => {
    const patient = new Client(away, { retries: 0, batchSeconds: 0.01 });
    patient.record({ user_id: "u", item_id: "i1" });
    while (bodies.length < 4) await patient.flush();
    assert.equal(await patient.flush(), 0);
    const ids = bodies.map((body) => JSON.parse(body).events[0].event_id);
    assert.equal(new Set(ids).size, 1);
  });
});
