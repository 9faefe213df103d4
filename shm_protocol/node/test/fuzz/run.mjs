#!/usr/bin/env node
// Fuzzes the check named by $FUZZ_CHECK: run.mjs [option of libFuzzer or folder ...]. Needs what `python -m fuzz` builds.
//
// The library's files get counters as they are loaded: one wherever the code may go one of two ways.

import { createRequire } from "node:module";
import Module from "node:module";
import { dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";

import ts from "typescript";

const here = dirname(fileURLToPath(import.meta.url));
const built = join(here, "..", "..", "build", "test");
const require = createRequire(import.meta.url);
const libfuzzer = require(join(built, "libfuzzer.node"));
let used = 0;

globalThis.fuzzCounters = new Uint8Array(libfuzzer.counters);

const compile = Module.prototype._compile;
Module.prototype._compile = function (code, file, ...rest) {
  const counted = file.startsWith(join(built, "src") + sep) ? withCounters(code) : code;
  return compile.call(this, counted, file, ...rest);
};

const { checks } = require(join(built, "test", "fuzz", "decoders.js"));
const check = checks[process.env.FUZZ_CHECK];
if (check === undefined) throw new Error(`FUZZ_CHECK=${process.env.FUZZ_CHECK} is none of ${Object.keys(checks).join(", ")}`);
libfuzzer.fuzz(check, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], used);

function withCounters(code) {
  const insertions = [];
  const count = () => `fuzzCounters[${used++}]++`;
  const insert = (at, text) => insertions.push({ at, text, order: insertions.length });
  const around = (node, before, after) => {
    insert(node.getStart(file), before);
    insert(node.end, after);
  };
  const branch = (statement) => {
    if (statement !== undefined && !ts.isBlock(statement)) around(statement, `{ ${count()}; `, " }");
  };
  const file = ts.createSourceFile("library.js", code, ts.ScriptTarget.ES2022, true);
  const visit = (node) => {
    if (ts.isBlock(node)) insert(node.getStart(file) + 1, ` ${count()};`);
    if (ts.isCaseOrDefaultClause(node)) insert(node.statements.pos, ` ${count()};`);
    if (ts.isIfStatement(node)) {
      branch(node.thenStatement);
      branch(node.elseStatement);
    }
    if (ts.isIterationStatement(node, false)) branch(node.statement);
    if (ts.isConditionalExpression(node)) {
      around(node.whenTrue, `(${count()}, `, ")");
      around(node.whenFalse, `(${count()}, `, ")");
    }
    if (ts.isBinaryExpression(node) && isShortCircuit(node.operatorToken.kind)) around(node.right, `(${count()}, `, ")");
    ts.forEachChild(node, visit);
  };
  visit(file);
  // From the end on, so that positions stay. At one place outer ones were noted first: theirs open first and close last.
  const isClosing = (insertion) => insertion.text === ")" || insertion.text === " }";
  insertions.sort((a, b) => b.at - a.at || (isClosing(a) && isClosing(b) ? a.order - b.order : b.order - a.order));
  let text = code;
  for (const { at, text: inserted } of insertions) text = text.slice(0, at) + inserted + text.slice(at);
  return text;
}

function isShortCircuit(kind) {
  return (
    kind === ts.SyntaxKind.AmpersandAmpersandToken ||
    kind === ts.SyntaxKind.BarBarToken ||
    kind === ts.SyntaxKind.QuestionQuestionToken
  );
}
