/** Node in the crash matrix: listens, answers, and asks the workers; each argument is the shape of one lane. */

import { setTimeout as sleep } from "node:timers/promises";

import { listen } from "@shm-polyglot/protocol";

import { Journal } from "./journal";
import { askMisbehaving, misbehaves, misbehaving } from "./misbehaviour";
import { ask, type Call, pauseAfter, peer, TIMEOUT_MS } from "./questions";

async function main(): Promise<void> {
  const journal = new Journal();
  const call: Call = (method, args) => bridge.call(method, args, { timeoutMs: TIMEOUT_MS });
  const bridge = await listen({ expose: { peer: peer(call), misbehaving: misbehaving(call) }, name: "node" });
  for (const change of ["connect", "disconnect"] as const) {
    bridge.on(change, () => { journal.setAttached(bridge.workers); });
  }
  journal.ready();
  await Promise.all(
    process.argv.slice(2).map(async (shape) => {
      const lane = journal.lane();
      for (;;) {
        await lane.attempt((question) =>
          misbehaves(shape) ? askMisbehaving(bridge, shape, question) : ask(call, shape, question),
        );
        if (pauseAfter(shape) > 0) await sleep(pauseAfter(shape));
      }
    }),
  );
}

void main();
