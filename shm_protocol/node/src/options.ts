/**
 * What a caller may ask for, checked before anything is sent: a wrong type is a TypeError and a wrong value a RangeError of
 * this side, not something for the peer to complain of.
 */

import { types } from "node:util";

import { MAX_MAX_MESSAGE, MIN_MAX_MESSAGE } from "./config";
import type { Exposables } from "./exposables";
import { MAX_CREDIT } from "./frames";
import type { TransportKind } from "./connection_info";
import type { Logger } from "./log";
import { MAX_NAME_CHARACTERS } from "./handshake";
import { textOf } from "./thrown";
import { isPlainObject } from "./values";

/** How long a call waits for its answer. Not sent to the peer, which need not know of a deadline nobody chose. */
export const DEFAULT_TIMEOUT_MS = 30_000;
/** Items of a stream that the peer may send ahead. */
export const DEFAULT_CREDIT = 64;
const MAX_MAX_CONNECTIONS = 0xffff;

const A_TIMEOUT = `a number of milliseconds greater than 0 and at most ${Number.MAX_SAFE_INTEGER}, or Infinity`;

/** @throws TypeError, RangeError */
function checkTimeout(name: string, value: unknown): asserts value is number {
  if (typeof value !== "number") throw wrongType(name, value, A_TIMEOUT);
  if (!(value > 0 && (value <= Number.MAX_SAFE_INTEGER || value === Infinity))) {
    throw new RangeError(`${name}=${value}: must be ${A_TIMEOUT}`);
  }
}

/** @throws TypeError, RangeError */
function checkInteger(name: string, value: unknown, least: number, most: number): asserts value is number {
  if (typeof value !== "number") throw wrongType(name, value, `an integer from ${least} to ${most}`);
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`${name}=${value}: must be an integer from ${least} to ${most}`);
  }
}

/** @throws TypeError, RangeError */
function checkCredit(value: unknown): asserts value is number {
  checkInteger("credit", value, 1, MAX_CREDIT);
}

/** @throws TypeError */
function checkString(name: string, value: unknown): asserts value is string {
  if (typeof value !== "string") throw wrongType(name, value, "a string");
}

/** @throws TypeError */
export function checkMethod(method: unknown): void {
  if (typeof method !== "string") throw wrongType("method", method, "a string, the name of a function");
}

/** @throws TypeError */
export function checkArgs(method: string, args: unknown): void {
  if (!Array.isArray(args)) throw new TypeError(`${method}: args must be an array, not ${kindOf(args)}`);
}

/** What calls of any kind may be given, as it was when it was looked at. */
export interface Asked {
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly traceparent: string | undefined;
  readonly idempotent: boolean | undefined;
  readonly credit: number | undefined;
  /** Of the caller's properties those that are there; undefined where there is none. */
  readonly kwargs: Readonly<Record<string, unknown>> | undefined;
  readonly handles: boolean | undefined;
  /** Not checked. */
  readonly connection: unknown;
}

const NOTHING_ASKED: Asked = {
  timeoutMs: undefined,
  signal: undefined,
  traceparent: undefined,
  idempotent: undefined,
  credit: undefined,
  kwargs: undefined,
  handles: undefined,
  connection: undefined,
};

const CALL_OPTIONS: readonly string[] = Object.keys(NOTHING_ASKED);

/** The options of a call, each read once: a getter may give something else the next time. @throws TypeError, RangeError */
export function readCallOptions(options: unknown): Asked {
  if (options === undefined) return NOTHING_ASKED;
  checkOptions(options, CALL_OPTIONS);
  const { timeoutMs, signal, traceparent, idempotent, credit, kwargs, handles, connection } = options as { [Option in keyof Asked]?: unknown };
  if (timeoutMs !== undefined) checkTimeout("timeoutMs", timeoutMs);
  if (signal !== undefined && !isSignal(signal)) throw wrongType("signal", signal, "an AbortSignal");
  if (traceparent !== undefined) checkString("traceparent", traceparent);
  if (idempotent !== undefined && typeof idempotent !== "boolean") throw wrongType("idempotent", idempotent, "true or false");
  if (credit !== undefined) checkCredit(credit);
  if (handles !== undefined && typeof handles !== "boolean") throw wrongType("handles", handles, "true or false");
  return { timeoutMs, signal, traceparent, idempotent, credit, kwargs: kwargs === undefined ? undefined : readKwargs(kwargs), handles, connection };
}

/** Keyword arguments, each read once; one that is undefined is not given. @throws TypeError, and what a getter throws */
function readKwargs(value: unknown): Record<string, unknown> | undefined {
  if (typeof value !== "object" || value === null || !isPlainObject(value)) throw wrongType("kwargs", value, "a plain object");
  const given = Object.entries(value).filter(([, argument]) => argument !== undefined);
  // Not by assignment: `__proto__` is a name like any other.
  return given.length === 0 ? undefined : Object.fromEntries(given);
}

/** What `listen` was given. */
export interface AskedToListen {
  readonly path: string | undefined;
  readonly transport: TransportKind | "auto" | undefined;
  readonly name: string | undefined;
  readonly maxMessage: number | undefined;
  readonly maxConnections: number | undefined;
  readonly log: Logger | undefined;
  /** Checked where it is exposed. */
  readonly expose: Exposables | undefined;
  readonly files: Readonly<Record<string, string>> | undefined;
}

const LISTEN_OPTIONS: readonly (keyof AskedToListen)[] = ["path", "transport", "name", "maxMessage", "maxConnections", "log", "expose", "files"];

/** The options of `listen`, each read once. @throws TypeError, RangeError */
export function readListenOptions(options: unknown): AskedToListen {
  checkOptions(options, LISTEN_OPTIONS);
  const { path, transport, name, maxMessage, maxConnections, log, expose, files } = options as { [Option in keyof AskedToListen]?: unknown };
  if (path !== undefined) checkString("path", path);
  if (name !== undefined) checkName(name);
  if (transport !== undefined) checkTransport(transport);
  if (maxMessage !== undefined) checkInteger("maxMessage", maxMessage, MIN_MAX_MESSAGE, MAX_MAX_MESSAGE);
  if (maxConnections !== undefined) checkInteger("maxConnections", maxConnections, 1, MAX_MAX_CONNECTIONS);
  if (log !== undefined && !isLogger(log)) throw wrongType("log", log, "an object with info, warn and error");
  if (files !== undefined) checkFiles(files);
  return { path, transport, name, maxMessage, maxConnections, log, expose: expose as Exposables | undefined, files };
}

function checkFiles(files: unknown): asserts files is Readonly<Record<string, string>> {
  checkIsObject("files", files);
  for (const [key, file] of Object.entries(files) as [string, unknown][]) {
    if (typeof file !== "string") throw wrongType(`files: ${key}`, file, "a path or a file: URL");
  }
}

function checkTransport(transport: unknown): asserts transport is TransportKind | "auto" {
  checkString("transport", transport);
  if (!["auto", "shm", "socket"].includes(transport)) {
    throw new RangeError(`transport=${JSON.stringify(transport)}: must be auto, shm or socket`);
  }
}

/** A misspelt one would be as if it had not been given. @throws TypeError */
function checkOptions(options: unknown, known: readonly string[]): asserts options is object {
  checkIsObject("options", options);
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new TypeError(`options: ${shown(name)} must be one of ${known.join(", ")}`);
  }
}

/** @throws TypeError for what is no object, and for a collection, whose parts have no such names. */
export function checkIsObject(name: string, value: unknown): asserts value is object {
  const isCollection = Array.isArray(value) || types.isMap(value) || types.isSet(value);
  if (typeof value !== "object" || value === null || isCollection) throw wrongType(name, value, "an object");
}

/** A name that peers would refuse is refused here: else it would be each of them that is told. */
function checkName(name: unknown): asserts name is string {
  if (typeof name !== "string") throw wrongType("name", name, "a string");
  const characters = Array.from(name).length;
  if (characters < 1 || characters > MAX_NAME_CHARACTERS) {
    throw new RangeError(`name=${shown(name)}: must have 1 to ${MAX_NAME_CHARACTERS} characters`);
  }
  if (!name.isWellFormed()) throw new RangeError(`name=${shown(name)}: must have no lone surrogates`);
}

function isLogger(log: unknown): log is Logger {
  const { info, warn, error } = (log ?? {}) as Partial<Record<"info" | "warn" | "error", unknown>>;
  return typeof info === "function" && typeof warn === "function" && typeof error === "function";
}

/** Not `instanceof`: Jest, and packages that fill in for older engines, have classes of their own. */
function isSignal(value: unknown): value is AbortSignal {
  if (typeof value !== "object" || value === null) return false;
  const signal = value as { aborted?: unknown; addEventListener?: unknown; removeEventListener?: unknown };
  return (
    typeof signal.aborted === "boolean" &&
    typeof signal.addEventListener === "function" &&
    typeof signal.removeEventListener === "function"
  );
}

function wrongType(name: string, value: unknown, expected: string): TypeError {
  return new TypeError(`${name}=${shown(value)}: must be ${expected}`);
}

function shown(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value.slice(0, 80)) : textOf(value).slice(0, 80);
}

function kindOf(value: unknown): string {
  return value === null ? "null" : typeof value;
}
