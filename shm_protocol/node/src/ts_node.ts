/** ts-node's type checker, told of Python files. */

import { existsSync } from "node:fs";
import { join } from "node:path";

interface Options {
  allowArbitraryExtensions?: boolean;
  types?: string[];
  typeRoots?: string[];
}

interface TsNode {
  config?: { options?: Options };
  ts?: { version?: string; getEffectiveTypeRoots?: (options: Options, host: object) => string[] | undefined };
}

const INSTANCE = Symbol.for("ts-node.register.instance");
const TYPES = join(__dirname, "..", "types");

/**
 * Where ts-node has loaded this, by its `require`: let it take declarations `ml.d.py.ts` without a flag in tsconfig, and
 * anything for what has none. Where it has not, nothing.
 */
export function acceptInTsNode(): void {
  const instance = (process as unknown as Record<symbol, TsNode | undefined>)[INSTANCE];
  const options = instance?.config?.options;
  if (options === undefined) return;
  options.allowArbitraryExtensions = true;
  // From TypeScript 6 on none are taken where nothing is said.
  if (options.types !== undefined || Number.parseInt(instance?.ts?.version ?? "", 10) >= 6) {
    options.types = [...(options.types ?? []), join(TYPES, "python")];
    return;
  }
  // Beside those that are taken where nothing is said.
  const host = { directoryExists: existsSync, getCurrentDirectory: () => process.cwd() };
  options.typeRoots = [...(instance?.ts?.getEffectiveTypeRoots?.(options, host) ?? []), TYPES];
}
