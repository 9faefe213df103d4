/** The process that calls: `node caller.ts PEER_MODULE ADDRESS CALLS WARMUP`. Prints each call's time, native u32 ns. */

import { nodeHalf } from "./peers";
import { ARGUMENT } from "./workload";

const NS_PER_MS = 1e6;
const LONGEST_NS = 2 ** 32 - 1;

async function main(): Promise<void> {
  const [module, address, calls, warmup] = process.argv.slice(2);
  if (module === undefined || address === undefined || calls === undefined || warmup === undefined)
    throw new Error("usage: caller.ts PEER_MODULE ADDRESS CALLS WARMUP");
  const caller = await nodeHalf(module).connect(address);
  for (let number = 0; number < Number(warmup); number++) await caller.call(ARGUMENT);
  const samples = new Uint32Array(Number(calls));
  for (let number = 0; number < samples.length; number++) {
    const began = performance.now();
    const answer = await caller.call(ARGUMENT);
    samples[number] = Math.min((performance.now() - began) * NS_PER_MS, LONGEST_NS);
    if (answer !== ARGUMENT) throw new Error(`${module}: call ${String(number)} answered ${String(answer)}`);
  }
  await caller.close();
  process.stdout.write(new Uint8Array(samples.buffer));
}

void main();
