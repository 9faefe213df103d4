/** The TypeScript module of a peer. */

import { createRequire } from "node:module";

import type { NodeModule } from "./peers/interface";

/** @throws Error where there is no such module, or what it needs is not installed. */
export function peerModule(name: string): NodeModule {
  // Not import(): that would be the loader for ES modules, which knows no TypeScript on Node 20.
  return createRequire(__filename)(`./peers/${name}`) as NodeModule;
}
