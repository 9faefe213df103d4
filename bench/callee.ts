/** The process that is called: `node callee.ts MODULE ADDRESS`. Prints `ready` once it may be. */

import { peerModule } from "./peer_module";

async function main(): Promise<void> {
  const [name, address] = process.argv.slice(2);
  if (name === undefined || address === undefined) throw new Error("usage: callee.ts MODULE ADDRESS");
  const module = peerModule(name);
  if (module.serve === undefined) throw new Error(`peers/${name}.ts has no serve`);
  await module.serve(address);
  console.log("ready");
}

void main();
