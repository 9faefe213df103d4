/** This bridge, through its public API. */

import { once } from "node:events";
import path from "node:path";

import { listen } from "@shm-polyglot/protocol";

import { FUNCTIONS } from "../workload";
import type { Caller } from "./interface";

function socketPath(address: string): string {
  return path.join(address, "node.sock");
}

export async function start(address: string): Promise<Caller> {
  const bridge = await listen({ path: socketPath(address) });
  if (bridge.workers === 0) await once(bridge, "connect");
  return {
    call: (function_, argument) => bridge.call(`workload.${function_}`, [argument]),
    stop: () => bridge.close(),
  };
}

export async function serve(address: string): Promise<void> {
  await listen({ path: socketPath(address), expose: { workload: FUNCTIONS } });
}
