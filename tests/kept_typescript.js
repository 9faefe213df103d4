// Runs TypeScript as `ts-node --transpile-only` does, for `node -r`, and keeps what came of a file in build/. With ts-node
// each process loads the compiler, which is three quarters of what the start of a peer takes, and hundreds are started.
// What is promised of ts-node itself is tried with it.

const { createHash } = require("node:crypto");
const { mkdirSync, readFileSync, renameSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");
const process = require("node:process");

const root = join(__dirname, "..");
const kept = join(root, "build", "typescript");
const options = readFileSync(join(root, "tsconfig.base.json"), "utf8");
const made = `${require("typescript/package.json").version}\n${options}`;

function transpiled(file) {
  const source = readFileSync(file, "utf8");
  const name = join(kept, `${createHash("sha256").update(`${made}\n${file}\n${source}`).digest("hex")}.js`);
  try {
    return readFileSync(name, "utf8");
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
  const typescript = require("typescript");
  const { options: compilerOptions } = typescript.convertCompilerOptionsFromJson(JSON.parse(options).compilerOptions, root);
  const inline = { sourceMap: false, inlineSourceMap: true, inlineSources: true, declaration: false, incremental: false };
  const { outputText } = typescript.transpileModule(source, { fileName: file, compilerOptions: { ...compilerOptions, ...inline } });
  mkdirSync(kept, { recursive: true });
  // Whole or not there: others start at the same time.
  const own = `${name}.${process.pid}`;
  writeFileSync(own, outputText);
  renameSync(own, name);
  return outputText;
}

process.setSourceMapsEnabled(true);
require.extensions[".ts"] = (module, file) => { module._compile(transpiled(file), file); };
