/**
 * `@shm-polyglot/protocol/register`: once it is loaded, `import { predict } from "./ml.py"` works in this program, whatever
 * loads its modules. By `node --import` or `--require`, in tsconfig's `"ts-node": { "require": […] }`, or, in CommonJS, as the
 * first line.
 */

import "./node_version";

import Module from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import * as threads from "node:worker_threads";

import { ENDING } from "./described/carried";
import { hookFor, resolve } from "./register_hooks";
import { commonJsStubs, esModuleStubs } from "./stub_modules";
import { acceptInTsNode } from "./ts_node";

interface HookedModule {
  _extensions: Record<string, (module: { exports: object }, file: string) => void>;
  registerHooks?: (hooks: { load: ReturnType<typeof hookFor>; resolve: typeof resolve }) => void;
  register?: (url: string, options: { parentURL: URL }) => void;
}

const marked: unique symbol = Symbol.for("shm-polyglot.register") as never;

function register(): void {
  // `--require` also runs where Node's own hooks do, where nothing is imported for the program.
  if ((threads as { isInternalThread?: boolean }).isInternalThread === true) return;
  const hooked = Module as unknown as HookedModule & { [marked]?: true };
  if (hooked[marked] === true) return;
  hooked[marked] = true;
  hooked._extensions[".py"] = (module, file) => { module.exports = commonJsStubs(file); };
  // Where `ml.py` is missing, CommonJS looks for it with each of these endings.
  hooked._extensions[`.py${ENDING}`] = (module, file) => { module.exports = commonJsStubs(file.slice(0, -ENDING.length)); };
  if (hooked.registerHooks !== undefined) hooked.registerHooks({ load: hookFor(esModuleStubs), resolve });
  else hooked.register?.(pathToFileURL(join(__dirname, "register_hooks.js")).href, { parentURL: pathToFileURL(__filename) });
  acceptInTsNode();
}

register();
