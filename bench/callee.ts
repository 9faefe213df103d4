/** The process that is called: `node callee.ts PEER_MODULE ADDRESS`. Prints `ready` once it may be. */

import { nodeHalf } from "./peers";

async function main(): Promise<void> {
  const [module, address] = process.argv.slice(2);
  if (module === undefined || address === undefined) throw new Error("usage: callee.ts PEER_MODULE ADDRESS");
  await nodeHalf(module).serve(address);
  console.log("ready");
}

void main();
