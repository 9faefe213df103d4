/** The hooks for ES modules. Node 20 loads this file in a thread of its own; newer ones have them in the program's. */

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { ENDING } from "./described/carried";
import { esModuleStubs } from "./stub_modules";

interface Loaded {
  format: "module";
  source: string;
  shortCircuit: true;
}

interface Resolved {
  format: "module";
  url: string;
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

/** Finds a `.py` file that is not there, but its description. */
export function resolve(specifier: string, context: { parentURL?: string | undefined }, next: Next): unknown {
  const { parentURL } = context;
  if (!specifier.endsWith(".py") || !URL.canParse(specifier, parentURL)) return next(specifier, context);
  const { href, protocol } = new URL(specifier, parentURL);
  // What does not begin with a dot, a slash or a scheme is a package.
  const isPath = /^(?:\.{0,2}\/|file:)/.test(specifier);
  if (!isPath || protocol !== "file:" || existsSync(fileURLToPath(href)) || !existsSync(fileURLToPath(href) + ENDING)) return next(specifier, context);
  const resolved: Resolved = { format: "module", url: href, shortCircuit: true };
  return resolved;
}
