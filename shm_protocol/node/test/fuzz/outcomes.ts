/** Reads lines of hexadecimal digits and writes what becomes of each: `node outcomes.js CORPUS`; for `python -m fuzz compare`. */

import { createInterface } from "node:readline";

import { checks, recorded } from "./decoders";

const [name = ""] = process.argv.slice(2);
if (!(name in checks)) throw new Error(`${name} is none of ${Object.keys(checks).join(", ")}`);
createInterface({ input: process.stdin }).on("line", (line) => {
  process.stdout.write(`${recorded(name as keyof typeof checks, Buffer.from(line, "hex"))}\n`);
});
