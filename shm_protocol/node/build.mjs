// Compiles the native addon with plain `cc`, when its sources have changed: src/*.c and the core's *.c become
// build/shm_protocol.node. The core lies beside this file in the published package, beside this folder in a checkout.
// Node's headers come from the npm package node-api-headers.

import { createHash } from "node:crypto";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const core = [join(here, "core"), join(here, "..", "core")].find((folder) => existsSync(folder));
const headers = createRequire(import.meta.url)("node-api-headers").include_dir;
const flags = ["-std=c11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra"];
// What a compiler of somebody else's warns of is no reason to leave him without.
if (core !== join(here, "core")) flags.push("-Werror");

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = compile(join(here, "src", "binding.c"), join(here, "build", "shm_protocol.node"));
}

// Compile the addon whose main file is `source` into `output`. Returns an exit status.
export function compile(source, output) {
  const coreFiles = readdirSync(core).filter((name) => /\.[ch]$/.test(name)).sort().map((name) => join(core, name));
  const memory = ["c", "h"].map((kind) => join(here, "src", `memory_binding.${kind}`));
  const sources = [source, memory[0], ...coreFiles.filter((name) => name.endsWith(".c"))];
  const inputs = [...sources, ...memory, ...coreFiles, join(here, "src", "binding.c"), join(headers, "node_api.h")];
  const cc = process.env.CC || "cc";
  const stamp = `${output}.stamp`;

  const hash = createHash("sha256").update(JSON.stringify([cc, flags, process.arch, process.platform]));
  for (const file of inputs) hash.update(`\0${relative(here, file)}\0`).update(readFileSync(file));
  const wanted = hash.digest("hex");
  if (existsSync(output) && existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return 0;

  mkdirSync(dirname(output), { recursive: true });
  const temporary = `${output}.${process.pid}`;
  const options = [...flags, `-I${headers}`, `-I${core}`, `-I${join(here, "src")}`, ...sources, "-o", temporary, "-lrt"];
  const { status, error } = spawnSync(cc, options, { stdio: "inherit" });
  if (error || status !== 0) {
    rmSync(temporary, { force: true });
    console.error(
      error?.code === "ENOENT"
        ? `build.mjs: no C compiler: ${cc} was not found. Install one (Debian, Ubuntu: apt-get install gcc libc6-dev; ` +
            "Fedora: dnf install gcc; Alpine: apk add gcc musl-dev), or set CC."
        : `build.mjs: ${cc} failed (${error?.message ?? `exit status ${status}`}). If headers of the system are missing: ` +
            "apt-get install libc6-dev, dnf install glibc-devel or apk add musl-dev.",
    );
    return 1;
  }
  // Renamed into place: a process that has the old file mapped keeps it.
  renameSync(temporary, output);
  writeFileSync(stamp, wanted);
  console.log(`built ${relative(process.cwd(), output)}`);
  return 0;
}
