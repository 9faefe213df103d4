import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { createHttpServer } from "../http_server";
import { Metrics } from "../metrics";

test("a connection that cannot be accepted does not end the server", async () => {
  const server = createHttpServer([], new Metrics(), 1_000);
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
