/** Settings from the environment. The same names, defaults, limits and sentences as in Python. */

import { statSync } from "node:fs";
import { isAbsolute, join } from "node:path";

import type { TransportKind } from "./connection_info";

/** The socket's name in its directory. */
export const SOCKET_NAME = "node.sock";
/** `sun_path` has 108 bytes, the last of which is zero (unix(7)). */
export const MAX_SOCKET_PATH_BYTES = 107;
export const MIN_RING_BYTES = 4 * 1024;
export const MAX_RING_BYTES = 256 * 1024 * 1024;
export const MIN_MAX_MESSAGE = 1024;
/** Lengths on the wire are u32. */
export const MAX_MAX_MESSAGE = 0xffff_ffff;
/** `SHM_MAX_MESSAGE_DEFAULT` of core/layout.h. */
export const DEFAULT_MAX_MESSAGE = 64 * 1024 * 1024;
export const MAX_SPIN_US = 1_000_000;
export const MIN_BUFFER_BYTES = 4 * 1024;
/** From so many bytes on handing a buffer over is quicker than copying it through the ring: docs/large-buffers.md. */
export const DEFAULT_BUFFER_BYTES = 512 * 1024;
export const DEFAULT_POOL_BYTES = 256 * 1024 * 1024;
export const MAX_POOL_BYTES = 2 ** 40;

/** So much of a value is shown in an error. */
const MAX_SHOWN_CHARACTERS = 100;

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Settings {
  /** Where the socket is. */
  path: string;
  /** Which transports to accept. */
  transport: TransportKind | "auto";
  /** The fixed spin budget in microseconds, or -1 to adapt. */
  spinUs: number;
  /** The largest message in bytes. */
  maxMessage: number;
  /** How large a buffer is, in bytes, that is handed over outside of its message; 0: none is. */
  bufferBytes: number;
}

/**
 * Read the settings; `path`, where it is given, wins over the directory of the environment.
 *
 * All of them are checked, also what only the other side makes use of: both sides are started with the same environment.
 *
 * @throws RangeError that names the variable, its value and what is allowed. An empty variable counts as unset.
 */
export function readSettings(environment: Environment = process.env, path?: string): Settings {
  const directory = directoryFrom(environment);
  const settings = {
    path: path ?? join(directory, SOCKET_NAME),
    transport: transportFrom(environment["SHM_POLYGLOT_TRANSPORT"]),
    spinUs: integerFrom(environment, "SHM_POLYGLOT_SPIN_US", 0, MAX_SPIN_US) ?? -1,
    maxMessage:
      integerFrom(environment, "SHM_POLYGLOT_MAX_MESSAGE", MIN_MAX_MESSAGE, MAX_MAX_MESSAGE) ?? DEFAULT_MAX_MESSAGE,
    bufferBytes: bufferBytesFrom(environment),
  };
  checkRingBytes(environment);
  startsChildren(environment);
  watches(environment);
  checkSocketPath(settings.path);
  return settings;
}

/** How much memory is kept for buffers to come, in bytes. @throws RangeError */
export function readPoolBytes(environment: Environment = process.env): number {
  return integerFrom(environment, "SHM_POLYGLOT_POOL_BYTES", 0, MAX_POOL_BYTES) ?? DEFAULT_POOL_BYTES;
}

function bufferBytesFrom(environment: Environment): number {
  const name = "SHM_POLYGLOT_BUFFER_BYTES";
  if (environment[name] === "0") return 0;
  return integerFrom(environment, name, MIN_BUFFER_BYTES, MAX_MAX_MESSAGE) ?? DEFAULT_BUFFER_BYTES;
}

/** The user this process acts for, which is whose files it makes and what SO_PEERCRED tells its peers. */
export function ownUid(): number {
  if (process.geteuid === undefined) throw new Error("this platform has no user ids: run the bridge on Linux");
  return process.geteuid();
}

/** @throws RangeError for a path that cannot be a Unix socket's. */
export function checkSocketPath(path: string): void {
  if (path.includes("\0")) {
    throw new RangeError(`the socket's path must have no zero byte: ${shown(path)}; set SHM_POLYGLOT_DIR to a directory without one`);
  }
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_SOCKET_PATH_BYTES) {
    throw new RangeError(
      `the socket's path has ${bytes} bytes and must have at most ${MAX_SOCKET_PATH_BYTES}: ${path}; ` +
        "set SHM_POLYGLOT_DIR to a shorter directory on both sides",
    );
  }
}

function directoryFrom(environment: Environment): string {
  const directory = environment["SHM_POLYGLOT_DIR"];
  if (!directory) return defaultDirectory(environment);
  if (!isAbsolute(directory)) throw invalid("SHM_POLYGLOT_DIR", directory, "an absolute path");
  return directory;
}

function defaultDirectory(environment: Environment): string {
  const runtime = environment["XDG_RUNTIME_DIR"];
  // A relative one is to be ignored, says its specification.
  if (runtime && isAbsolute(runtime) && statSync(runtime, { throwIfNoEntry: false })?.isDirectory()) {
    return join(runtime, "shm-polyglot");
  }
  return `/tmp/shm-polyglot-${ownUid()}`;
}

function transportFrom(value: string | undefined): TransportKind | "auto" {
  if (value === undefined || value === "") return "auto";
  if (value === "auto" || value === "shm" || value === "socket") return value;
  throw invalid("SHM_POLYGLOT_TRANSPORT", value, "auto, shm or socket");
}

function checkRingBytes(environment: Environment): void {
  const name = "SHM_POLYGLOT_RING_BYTES";
  const value = environment[name];
  if (!value) return;
  const bytes = wholeNumber(value);
  if (bytes === undefined || bytes < MIN_RING_BYTES || bytes > MAX_RING_BYTES || (bytes & (bytes - 1)) !== 0) {
    throw invalid(name, value, `a power of two from ${MIN_RING_BYTES} to ${MAX_RING_BYTES}`);
  }
}

function integerFrom(environment: Environment, name: string, least: number, most: number): number | undefined {
  const value = environment[name];
  if (!value) return undefined;
  const number = wholeNumber(value);
  if (number === undefined || number < least || number > most) {
    throw invalid(name, value, `an integer from ${least} to ${most}`);
  }
  return number;
}

/** Decimal digits and nothing else; no limit has more than ten of them. */
function wholeNumber(text: string): number | undefined {
  return /^[0-9]{1,15}$/.test(text) ? Number(text) : undefined;
}

function invalid(name: string, value: string, allowed: string): RangeError {
  return new RangeError(`${name}=${shown(value)}: must be ${allowed}`);
}

/** A value in quotes, printable in any terminal, and no longer than is of use. */
function shown(value: string): string {
  const characters = Array.from(value);
  const text = characters.length > MAX_SHOWN_CHARACTERS ? `${characters.slice(0, MAX_SHOWN_CHARACTERS).join("")}...` : value;
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Whether a process may be started for what is imported of the other language. @throws RangeError */
export function startsChildren(environment: Environment = process.env): boolean {
  return flagFrom(environment, "SHM_POLYGLOT_CHILD", true);
}

/** Whether edited modules are to be loaded again: see reloading.ts. @throws RangeError */
export function watches(environment: Environment = process.env): boolean {
  return flagFrom(environment, "SHM_POLYGLOT_WATCH", false);
}

function flagFrom(environment: Environment, name: string, byDefault: boolean): boolean {
  const value = environment[name];
  if (!value) return byDefault;
  if (value !== "0" && value !== "1") throw invalid(name, value, "0 or 1");
  return value === "1";
}
