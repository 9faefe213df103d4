/**
 * `node describe.js FILE`: prints `{"module": <its description>, "sources": <what it was made from>}`. Ends with 1 and one
 * line of JSON, `{"error": …, "message": …}`, where it cannot. Run by Python, in a process of its own: a compiler is nothing
 * that a program should hold.
 */

import "./node_version";

import { describeTypeScript } from "./described/typescript_module";
import { describe } from "./thrown";

const [, , file] = process.argv;
if (file === undefined) throw new Error("usage: node describe.js FILE");
try {
  process.stdout.write(`${JSON.stringify(describeTypeScript(file))}\n`);
} catch (error) {
  process.exitCode = 1;
  const name = error instanceof Error ? error.name : "Error";
  process.stdout.write(`${JSON.stringify({ error: name, message: error instanceof Error ? error.message : describe(error) })}\n`);
}
