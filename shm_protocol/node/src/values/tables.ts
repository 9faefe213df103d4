/**
 * Arrow tables: as IPC streams on the wire (PROTOCOL.md section 8), of apache-arrow's in TypeScript. The library is the
 * program's own, and nothing of it is loaded before a table is sent or has arrived.
 */

import { existsSync, readFileSync } from "node:fs";
import Module, { createRequire } from "node:module";
import { isAbsolute, join } from "node:path";
import { types } from "node:util";

import { read } from "../thrown";
import { Unencodable } from "./unencodable";

/** A table that has arrived, as the bytes of its IPC stream. */
export class TableBytes {
  constructor(readonly data: Uint8Array) {}
}

/** Gives the program a table that has arrived. */
export type ReadTable = (received: TableBytes) => unknown;

/** What is used of apache-arrow. */
interface ArrowLibrary {
  Table: { new (batches: readonly object[]): object; prototype: object };
  RecordBatch: { prototype: object };
  tableToIPC(table: object, type: "stream"): Uint8Array;
  tableFromIPC(bytes: Uint8Array): object;
}

const PACKAGE = "apache-arrow";
const INSTALL = `npm install ${PACKAGE}`;
const MARKS = [Symbol.for(`${PACKAGE}/Table`), Symbol.for(`${PACKAGE}/RecordBatch`)];
const END_OF_STREAM = Buffer.from("ffffffff00000000", "hex");

/** The copy that a table was sent of, or was read with, last. */
let latest: ArrowLibrary | undefined;

/** Is it a Table or a RecordBatch of any copy of apache-arrow? Nothing of the object's own is run to find out. */
export function isTable(value: object): boolean {
  return MARKS.some((mark) => marked(value, mark));
}

/** The IPC stream of a table. @throws Unencodable, and what apache-arrow throws. */
export function bytesOfTable(table: object): Uint8Array {
  for (const library of copies()) {
    const prototype: unknown = Object.getPrototypeOf(table);
    if (prototype !== library.Table.prototype && prototype !== library.RecordBatch.prototype) continue;
    latest = library;
    const whole = prototype === library.Table.prototype ? table : new library.Table([table]);
    return library.tableToIPC(whole, "stream");
  }
  // Another copy writes its dictionaries wrongly, and says nothing.
  throw new Unencodable(
    `an Arrow table of another copy of ${PACKAGE} than the project's cannot be encoded: send tableToIPC(table, "stream"), or have one copy (${INSTALL})`,
  );
}

/** The table of which these are the bytes, a view of them. @throws Error that says why there is none. */
export function tableOfBytes({ data }: TableBytes): object {
  const [library] = copies();
  if (library === undefined) throw new Error(`an Arrow table can only be received where ${PACKAGE} is installed: ${INSTALL}`);
  // apache-arrow takes a stream that is cut between two batches for a shorter one.
  if (!END_OF_STREAM.equals(data.subarray(-END_OF_STREAM.length))) {
    throw new Error(`an Arrow table of ${data.length} bytes, which is cut short`);
  }
  try {
    const table = library.tableFromIPC(data);
    latest = library;
    return table;
  } catch (error) {
    throw new Error(`an Arrow table of ${data.length} bytes, which ${PACKAGE} cannot read: ${String(read(error, "message"))}`, { cause: error });
  }
}

/**
 * The copies of apache-arrow in the program, the likeliest first: whoever imports it and whoever requires it get one each of the same
 * package, and neither writes the other's tables rightly.
 */
function* copies(): Generator<ArrowLibrary> {
  if (latest !== undefined) yield latest;
  const found = findPackage();
  if (found === undefined) return;
  const { require, required } = found;
  const imported = required.replace(/\.js$/, ".mjs");
  // What has been required can be seen; of what has been imported, only whether the program itself has been.
  const isRequired = require.cache[required] !== undefined || mainModule() !== undefined;
  for (const file of isRequired ? [required, imported] : [imported, required]) {
    const library = load(require, file);
    if (library !== undefined && library !== latest) yield library;
  }
}

/** Where the program has the package: from its main file upward, else from its working folder. */
function findPackage(): { require: NodeJS.Require; required: string } | undefined {
  for (const start of [process.argv[1], join(process.cwd(), "any.js")]) {
    if (start === undefined || !isAbsolute(start)) continue;
    const require = createRequire(start);
    try {
      return { require, required: require.resolve(PACKAGE) };
    } catch {
      // Looked for in the next.
    }
  }
  return undefined;
}

function mainModule(): NodeJS.Module | undefined {
  return createRequire(__filename).main;
}

/** Undefined: there is no such file, or Node is too old to have an imported copy given at once (20.19, 22.12). */
function load(require: NodeJS.Require, file: string): ArrowLibrary | undefined {
  if (!existsSync(file)) return undefined;
  try {
    return (file.endsWith(".mjs") && loadImported(file)) || (require(file) as ArrowLibrary);
  } catch (error) {
    if (read(error, "code") === "ERR_REQUIRE_ESM") return undefined;
    throw error;
  }
}

/** The copy that `import` gives. To require it is the same, but where tsx has hooks: it makes one more copy of that. */
function loadImported(file: string): ArrowLibrary | undefined {
  if ((process.features as { require_module?: boolean }).require_module !== true) return undefined;
  const module = new Module(file) as NodeJS.Module & { _compile?: (source: string, file: string, format: "module") => void };
  module.filename = file;
  module._compile?.(readFileSync(file, "utf8"), file, "module");
  return module.exports as ArrowLibrary;
}

/** Has its class such a mark? */
function marked(value: object, mark: symbol): boolean {
  if (types.isProxy(value)) return false;
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype === null || types.isProxy(prototype)) return false;
  return Object.getOwnPropertyDescriptor(prototype, mark)?.value === true;
}
