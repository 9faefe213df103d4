/**
 * Where the native addon is: built here, or prebuilt for a platform, by whose name it is found. It is looked for from the
 * library's own files, because a bundler puts these elsewhere: into the program's own folder, under any name.
 */

import { closeSync, existsSync, openSync, readSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const ADDON = "shm_protocol.node";
const PACKAGE = "@shm-polyglot/protocol";
/** The name of the dynamic loader is that near to the beginning of an executable. */
const HEAD_BYTES = 4096;

/** The addon's file, or the error that tells where it was looked for and what to do. */
export function findAddon(): string | Error {
  const here = ownFolder();
  const root = join(here, "..");
  const platform = platformName();
  // In the package; beside a bundle, where copying and bundlers' asset loaders put it; in the package that is installed.
  const places = [...placesIn(root, platform), join(here, ADDON), ...placesIn(here, platform), ...installed(here, platform)];
  const found = places.find((place) => existsSync(place));
  if (found !== undefined) return found;
  const missing = `there is no native addon for ${platform} (looked for ${[...new Set(places)].join(", ")})`;
  if (process.platform !== "linux") return new Error(`${missing}: shared memory is used on Linux only, here the socket transport`);
  if (existsSync(join(root, "build.mjs"))) {
    return new Error(`${missing}: run "node build.mjs" in ${root}, which needs a C compiler`);
  }
  return new Error(
    `${missing}: copy the folder build or prebuilds of the package ${PACKAGE} to ${here}, or leave that package out of the bundle`,
  );
}

/** Load what findAddon has found. */
export function loadAddon(file: string): unknown {
  // A function of its own: no bundler follows it.
  return createRequire(file)(file);
}

/** What this process runs on, as the folders of prebuilds are called, e.g. `"linux-x64-glibc"`. */
function platformName(): string {
  const { platform, arch } = process;
  return platform === "linux" ? `${platform}-${arch}-${libcName()}` : `${platform}-${arch}`;
}

/** By the loader that Node's own executable asks for. No package is asked: the library's files alone must do, bundled or copied. */
function libcName(): "glibc" | "musl" {
  try {
    const file = openSync(process.execPath, "r");
    try {
      const head = Buffer.alloc(HEAD_BYTES);
      readSync(file, head, 0, HEAD_BYTES, 0);
      return head.includes("/ld-musl-") ? "musl" : "glibc";
    } finally {
      closeSync(file);
    }
  } catch {
    return "glibc"; // An executable that cannot be read: the addon will say so if it is the wrong one.
  }
}

/** In a folder that is laid out as the package. What was built here comes first: there was a reason to. */
function placesIn(folder: string, platform: string): string[] {
  return [join(folder, "build", ADDON), join(folder, "prebuilds", platform, ADDON)];
}

/** The folder of this file, or of the bundle that it is a part of. */
function ownFolder(): string {
  // A bundle may be an ES module, which has no __dirname; its main file is the next best.
  const folder: unknown = typeof __dirname === "undefined" ? undefined : __dirname;
  return typeof folder === "string" ? folder : dirname(process.argv[1] ?? process.execPath);
}

function installed(here: string, platform: string): string[] {
  try {
    const manifest = createRequire(join(here, "any.js")).resolve(`${PACKAGE}/package.json`);
    return placesIn(dirname(manifest), platform);
  } catch {
    // Not installed beside it, which is usual where it is bundled.
    return [];
  }
}
