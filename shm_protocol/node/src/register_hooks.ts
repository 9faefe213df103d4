/** The hook for ES modules. Node 20 loads this file in a thread of its own; newer ones have it in the program's. */

import { fileURLToPath } from "node:url";

import { esModuleStubs } from "./stub_modules";

interface Loaded {
  format: "module";
  source: string;
  shortCircuit: true;
}

type Next = (url: string, context?: unknown) => unknown;

/** What loads `.py` files as ES modules, and leaves all others alone. */
export function hookFor(stubs: (file: string) => string): (url: string, context: unknown, next: Next) => unknown {
  return (url, context, next) => {
    const at = url.search(/[?#]/);
    const bare = at < 0 ? url : url.slice(0, at);
    if (!bare.startsWith("file:") || !bare.endsWith(".py")) return next(url, context);
    const loaded: Loaded = { format: "module", source: stubs(fileURLToPath(bare)), shortCircuit: true };
    return loaded;
  };
}

export const load = hookFor(esModuleStubs);
