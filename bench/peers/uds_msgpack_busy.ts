/**
 * The same as uds_msgpack.ts, but neither side ever sleeps in the kernel, so that the bridge is not credited with what
 * polling alone buys. Node polls by an event loop that always has something to do: it asks epoll and returns at once.
 * To read the descriptor itself in such a loop, with fs.readSync and its exception when there is nothing, was no quicker.
 */

import type { Caller } from "./interface";
import { listen, start as startBlocking } from "./uds_msgpack";

/** Keep the event loop from sleeping while `wanted`. */
function poll(wanted: () => boolean): void {
  function again(): void {
    if (wanted()) setImmediate(again);
  }
  again();
}

export async function start(address: string): Promise<Caller> {
  const caller = await startBlocking(address);
  let running = true;
  poll(() => running);
  return {
    call: (function_, argument) => caller.call(function_, argument),
    stop: () => {
      running = false;
      return caller.stop();
    },
  };
}

/** It polls while a caller is connected. */
export async function serve(address: string): Promise<void> {
  const server = await listen(address);
  let connections = 0;
  server.on("connection", (connection) => {
    connection.on("close", () => {
      connections--;
    });
    if (connections++ === 0) poll(() => connections > 0);
  });
}
