/** Modules of stubs: what an import hook gives instead of a Python file, and what is generated for tools without hooks. */

import type { ModuleDescription } from "./described/description";
import { describePython } from "./described/python_module";
import { RemoteModule } from "./remote_module";
import { realPathOf } from "./sources";
import { makeStubs } from "./stubs";

const made = new Map<string, Record<string, unknown>>();

/** The stubs of a Python file, the same for everybody who imports it. @throws as describePython does. */
export function stubsOf(file: string, described?: ModuleDescription): Record<string, unknown> {
  const real = realPathOf(file);
  let stubs = made.get(real);
  if (stubs === undefined) {
    stubs = makeStubs(described ?? describePython(real), new RemoteModule(real));
    made.set(real, stubs);
  }
  return stubs;
}

/** What a CommonJS module of the stubs of `file` exports. A name that it does not have is an error that says what it has. */
export function commonJsStubs(file: string): object {
  const described = describePython(realPathOf(file));
  const stubs = Object.assign(Object.defineProperty({}, "__esModule", { value: true }), stubsOf(file, described));
  return new Proxy(stubs, {
    get(target, name, receiver): unknown {
      if (typeof name === "string" && !(name in target) && !ASKED_OF_ANYTHING.has(name)) throw nothingOf(name, described);
      return Reflect.get(target, name, receiver) as unknown;
    },
  });
}

/** What loaders, test runners and `await` look for in whatever there is. */
const ASKED_OF_ANYTHING = new Set(["then", "default", "module.exports", "toJSON", "$$typeof", "asymmetricMatch", "nodeType", "tagName", "inspect"]);

function nothingOf(name: string, module: ModuleDescription): TypeError {
  const why = module.skipped.find((skipped) => skipped.name === name)?.why;
  const reason = why === undefined ? "" : ` (${why})`;
  return new TypeError(`${module.file} has no ${name} to import${reason}; it has ${exportedNames(module).join(", ") || "nothing"}`);
}

/** Without an import where that can be: tsx on Node 20 cannot link one here. */
const CREATE_REQUIRE =
  typeof (process as { getBuiltinModule?: unknown }).getBuiltinModule === "function"
    ? [`const { createRequire } = process.getBuiltinModule("node:module");`]
    : [`import { createRequire } from "node:module";`];

/** An ES module of the stubs of `file`: with their names, so that a wrong one is found when it is linked. */
export function esModuleStubs(file: string): string {
  const described = describePython(realPathOf(file));
  const names = exportedNames(described);
  return [
    ...CREATE_REQUIRE,
    `const stubs = createRequire(import.meta.url)(${JSON.stringify(__filename)}).stubsOf(${JSON.stringify(file)}, ${JSON.stringify(described)});`,
    ...names.map((name, index) => `const $${index} = stubs[${JSON.stringify(name)}];`),
    `export { ${names.map((name, index) => `$${index} as ${name}`).join(", ")} };`,
    "",
  ].join("\n");
}

/** What can be imported by name. */
export function exportedNames(module: ModuleDescription): string[] {
  const parts = [module.functions, module.classes, module.instances, module.types, module.constants];
  const names = parts.flatMap((part) => part.map(({ name }) => name));
  // Python's identifiers are JavaScript's, but for some letters that Unicode has added since.
  return [...new Set(names)].filter((name) => name !== "then" && /^[\p{ID_Start}_$][\p{ID_Continue}$]*$/u.test(name));
}
