import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect } from "node:net";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";

import { createHttpServer, type Route } from "../http_server";
import { Metrics } from "../metrics";

/** A client may take so long for its request: a guard against hangs. */
const HANG_MS = 200_000;
const NUMBERS: readonly number[] = Array.from({ length: 20 }, (_, number) => number);

/** The numbers in the answers to requests that a client sends at once, and how many were served side by side. */
async function pipelined(bodyBytes: number): Promise<{ answered: number[]; most: number }> {
  let begun = 0;
  let most = 0;
  const route: Route = {
    method: "POST",
    path: "/slow",
    language: "typescript",
    async handle(request, query) {
      most = Math.max(most, ++begun);
      await text(request);
      await setTimeout(5);
      begun--;
      return { body: { number: query.get("number") } };
    },
  };
  const server = createHttpServer([route], new Metrics(), HANG_MS);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  try {
    const rest = `HTTP/1.1\r\nHost: x\r\nContent-Length: ${bodyBytes}\r\n\r\n${"x".repeat(bodyBytes)}`;
    client.end(NUMBERS.map((number) => `POST /slow?number=${number} ${rest}`).join(""));
    const answers = await text(client);
    return { answered: [...answers.matchAll(/"number":"(\d+)"/g)].map(([, number]) => Number(number)), most };
  } finally {
    client.destroy();
    server.close();
    server.closeAllConnections();
  }
}

test("large requests that a client sends at once are begun one after another, and answered in their order", async () => {
  assert.deepEqual(await pipelined(40_000), { answered: NUMBERS, most: 1 });
});

test("small requests that a client sends at once are served side by side, and answered in their order", async () => {
  const { answered, most } = await pipelined(10);
  assert.deepEqual(answered, NUMBERS);
  assert.ok(most > 1);
});

test("a connection that cannot be accepted does not end the server", async () => {
  const server = createHttpServer([], new Metrics(), HANG_MS);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    // What Node 20.0 emits where accept(2) fails, for example for want of memory.
    server.emit("error", Object.assign(new Error("accept ENOMEM"), { code: "ENOMEM", syscall: "accept" }));
    const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    assert.deepEqual([answer.status, await answer.json()], [404, { error: "Not found" }]);
  } finally {
    server.close();
    server.closeAllConnections();
  }
});
