/** This bridge, through its public API. */

import { once } from "node:events";
import path from "node:path";

import { listen } from "@shm-polyglot/protocol";

import { echo } from "../workload";
import type { Caller } from "./interface";

function socketPath(address: string): string {
  return path.join(address, "node.sock");
}

export async function connect(address: string): Promise<Caller> {
  const bridge = await listen({ path: socketPath(address) });
  if (bridge.workers === 0) await once(bridge, "connect");
  return {
    call: (value) => bridge.call("workload.echo", [value]),
    close: () => bridge.close(),
  };
}

export async function serve(address: string): Promise<void> {
  await listen({ path: socketPath(address), expose: { workload: { echo } } });
}
