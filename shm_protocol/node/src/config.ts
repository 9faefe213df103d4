/** Settings from the environment. The same names, defaults and ranges as in Python. */

import { statSync } from "node:fs";
import { join } from "node:path";

import type { TransportKind } from "./handshake";

/** `SHM_MAX_MESSAGE_DEFAULT` of core/layout.h. */
export const DEFAULT_MAX_MESSAGE = 64 * 1024 * 1024;
export const MIN_MAX_MESSAGE = 1024;
/** Lengths on the wire are u32. */
export const MAX_MAX_MESSAGE = 0xffff_ffff;
const MAX_SPIN_US = 1_000_000;

/** The directory of the socket and the socket's name in it. */
export const SOCKET_NAME = "node.sock";

export interface Settings {
  /** Where the socket is. */
  directory: string;
  /** Which transports to accept. */
  transport: TransportKind | "auto";
  /** The fixed spin budget in microseconds, or -1 to adapt. */
  spinUs: number;
  /** The largest message in bytes. */
  maxMessage: number;
}

/**
 * Read the settings.
 *
 * @throws RangeError that names variable, value and what is allowed.
 */
export function readSettings(environment: Readonly<Record<string, string | undefined>> = process.env): Settings {
  return {
    directory: environment["SHM_POLYGLOT_DIR"] || defaultDirectory(environment),
    transport: transportFrom(environment["SHM_POLYGLOT_TRANSPORT"]),
    spinUs: integerFrom(environment, "SHM_POLYGLOT_SPIN_US", 0, MAX_SPIN_US) ?? -1,
    maxMessage:
      integerFrom(environment, "SHM_POLYGLOT_MAX_MESSAGE", MIN_MAX_MESSAGE, MAX_MAX_MESSAGE) ?? DEFAULT_MAX_MESSAGE,
  };
}

/** The user this process acts for, which is whose files it makes and what SO_PEERCRED tells its peers. */
export function ownUid(): number {
  if (process.geteuid === undefined) throw new Error("this platform has no user ids: run the bridge on Linux");
  return process.geteuid();
}

function defaultDirectory(environment: Readonly<Record<string, string | undefined>>): string {
  const runtime = environment["XDG_RUNTIME_DIR"];
  if (runtime && statSync(runtime, { throwIfNoEntry: false })?.isDirectory()) return join(runtime, "shm-polyglot");
  return `/tmp/shm-polyglot-${ownUid()}`;
}

function transportFrom(value: string | undefined): TransportKind | "auto" {
  if (value === undefined || value === "") return "auto";
  if (value === "auto" || value === "shm" || value === "socket") return value;
  throw new RangeError(`SHM_POLYGLOT_TRANSPORT=${value}: may be auto, shm or socket`);
}

function integerFrom(
  environment: Readonly<Record<string, string | undefined>>,
  name: string,
  least: number,
  most: number,
): number | undefined {
  const value = environment[name];
  if (value === undefined || value === "") return undefined;
  const number = /^\d{1,15}$/.test(value) ? Number(value) : -1;
  if (number < least || number > most) throw new RangeError(`${name}=${value}: may be an integer from ${least} to ${most}`);
  return number;
}

/** @throws RangeError for a `maxMessage` option out of range. */
export function checkMaxMessage(maxMessage: number): number {
  if (!Number.isInteger(maxMessage) || maxMessage < MIN_MAX_MESSAGE || maxMessage > MAX_MAX_MESSAGE) {
    throw new RangeError(`maxMessage=${maxMessage}: may be an integer from ${MIN_MAX_MESSAGE} to ${MAX_MAX_MESSAGE}`);
  }
  return maxMessage;
}
