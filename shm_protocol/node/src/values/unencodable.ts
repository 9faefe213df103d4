/** Why a value cannot be encoded, and the path to it. */

import { types } from "node:util";

import { errorToMap } from "../error_maps";
import { EncodeError, MessageTooLarge } from "../errors";

/**
 * Why encoding stopped, on its way out through the containers, each of which adds its segment of the path. It never leaves
 * this room: {@link explain} makes the caller's error of it.
 */
export class Unencodable extends Error {
  /** Of the path, from the bad part outwards. Private, so that nothing that user code throws can pass for one of these. */
  readonly #segments: string[] = [];

  /** `why` says what is wrong with the part; with `isTooLarge`: with the whole message. */
  constructor(
    readonly why: string,
    readonly isTooLarge = false,
    options?: ErrorOptions,
  ) {
    super(why, options);
  }

  /** For a value that is, say, `"a symbol"`. */
  static of(what: string): Unencodable {
    return new Unencodable(`${what} cannot be encoded`);
  }

  /** What was thrown while a value was looked at: by the encoder, or by a getter, a proxy or an iterator of the value. */
  static from(thrown: unknown): Unencodable {
    if (typeof thrown === "object" && thrown !== null && #segments in thrown) return thrown;
    const { type, code, message } = errorToMap(thrown);
    return new Unencodable(`looking at it raised ${type ?? code}: ${message}`, false, { cause: thrown });
  }

  /** The same, one container further out. */
  within(segment: string): this {
    this.#segments.push(segment);
    return this;
  }

  toError(root: string): EncodeError | MessageTooLarge {
    if (this.isTooLarge) return new MessageTooLarge(this.why);
    const path = shortened((root + this.#segments.reverse().join("")).replace(/^\./, ""));
    return new EncodeError(`${path}: ${this.why}`, this.cause === undefined ? undefined : { cause: this.cause });
  }
}

/**
 * The caller's error for what the encoder threw. `root` is the name of the value that it was given; `""` for an object whose
 * properties are such names themselves.
 */
export function explain(thrown: unknown, root: string): EncodeError | MessageTooLarge {
  return Unencodable.from(thrown).toError(root);
}

export function indexSegment(index: number): string {
  return `[${index}]`;
}

export function propertySegment(key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : keySegment(key);
}

export function keySegment(key: unknown): string {
  if (typeof key === "string") return `[${JSON.stringify(key)}]`;
  const isPlain = typeof key === "number" || typeof key === "bigint" || typeof key === "boolean";
  return `[${isPlain ? String(key) : describeValue(key)}]`;
}

const LONGEST_PATH = 160;

function shortened(path: string): string {
  return path.length <= LONGEST_PATH ? path : `${path.slice(0, LONGEST_PATH)}…`.toWellFormed();
}

export function describeValue(value: unknown): string {
  if (value === null) return "null";
  return typeof value === "object" ? describeObject(value) : `a ${typeof value}`;
}

export function describeObject(value: object): string {
  if (types.isProxy(value)) return "a Proxy";
  const prototype = Object.getPrototypeOf(value) as { constructor?: { name?: unknown } } | null;
  const name = prototype?.constructor?.name;
  return typeof name === "string" && name !== "" ? `an object of class ${name.toWellFormed()}` : "an object of a class";
}
