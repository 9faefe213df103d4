/** Reads the JSON object that a request must carry; python_side/json_body.py takes and refuses the same. */

import type { IncomingMessage } from "node:http";

import { HttpError } from "./http_error";
import { UnfinishedBodies } from "./unfinished_bodies";

/** The largest request body, in bytes; a longer one is a 413. */
export const MAX_BODY_BYTES = 1 << 20;

/** Arrays and objects within each other. */
const MAX_DEPTH = 500;

const TOO_LARGE = `The request body is larger than ${MAX_BODY_BYTES} bytes`;
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const JSON_TYPE = /^application\/(?:json|[^/,;]+\+json)$/;

const unfinished = new UnfinishedBodies();

/**
 * The JSON object that a request must carry. Throws HttpError: 400 with the message `missing` when there is no body or an
 * empty object, 400 for what is not a JSON object, 413 for a body past MAX_BODY_BYTES, 415 for another content type, 503
 * when too many clients leave their bodies unfinished.
 */
export async function readJsonObject(request: IncomingMessage, missing: string): Promise<Record<string, unknown>> {
  const body = await readBody(request);
  if (body.length === 0) {
    throw new HttpError(400, missing);
  }
  requireJson(request);
  const value = parse(body);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new HttpError(400, "The body must be a JSON object");
  }
  if (Object.keys(value).length === 0) {
    throw new HttpError(400, missing);
  }
  return value as Record<string, unknown>;
}

/** A field's value as a text. Throws HttpError 400 for anything else; `name` is what the message calls it. */
export function requireText(value: unknown, name: string): string {
  if (typeof value !== "string") {
    throw new HttpError(400, `${name} must be a string`);
  }
  // Half a character, which no UTF-8 can carry.
  if (!value.isWellFormed()) {
    throw new HttpError(400, `${name} must not contain a lone surrogate`);
  }
  return value;
}

/** Whether a request announces a body that is not going to be read. */
export function isTooLarge(request: IncomingMessage): boolean {
  return Number(request.headers["content-length"]) > MAX_BODY_BYTES;
}

function readBody(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    if (isTooLarge(request)) {
      reject(tooLarge());
      return;
    }
    const body = unfinished.begin((error) => { stop(error); });
    const announced = Number(request.headers["content-length"]);
    let whole: Buffer | undefined;
    const take = (chunk: Buffer): void => {
      // Nothing is left unfinished, and its end comes at once.
      if (chunk.length === announced) whole = chunk;
      else if (body.length + chunk.length > MAX_BODY_BYTES) stop(tooLarge());
      else unfinished.add(body, chunk);
    };
    const stop = (error: Error): void => {
      request.off("data", take);
      unfinished.end(body);
      reject(error);
    };
    request.on("data", take);
    request.on("end", () => {
      unfinished.end(body);
      resolve(whole ?? body.bytes);
    });
    request.on("error", stop);
  });
}

function tooLarge(): HttpError {
  return new HttpError(413, TOO_LARGE, { Connection: "close" });
}

/** A body without a content type is looked at, as RFC 9110 section 8.3 allows. */
function requireJson(request: IncomingMessage): void {
  if (request.headers["content-type"] !== "application/json") {
    const [type = ""] = (request.headers["content-type"] ?? "").split(";");
    if (type.trim() !== "" && !JSON_TYPE.test(type.trim().toLowerCase())) {
      throw new HttpError(415, "The content type must be application/json");
    }
  }
  const coding = request.headers["content-encoding"]?.trim().toLowerCase() ?? "";
  if (coding !== "" && coding !== "identity") {
    throw new HttpError(415, "The body must have no content coding");
  }
}

function parse(body: Buffer): unknown {
  let value: unknown;
  try {
    value = JSON.parse(UTF8.decode(body));
  } catch (error) {
    const reason = error instanceof SyntaxError ? error.message : "not UTF-8";
    throw new HttpError(400, `Malformed JSON: ${reason}`);
  }
  requireUsual(value);
  return value;
}

/** RFC 8259 section 9 lets a parser have limits; these are what both languages can take. */
function requireUsual(value: unknown): void {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    const inner: unknown[] = [];
    for (const item of level) {
      if (typeof item === "number" && !Number.isFinite(item)) {
        throw new HttpError(400, "Malformed JSON: a number is out of a double's range");
      }
      if (typeof item !== "object" || item === null) continue;
      if (depth >= MAX_DEPTH) {
        throw new HttpError(400, `Malformed JSON: nested deeper than ${MAX_DEPTH} levels`);
      }
      for (const element of Object.values(item)) inner.push(element);
    }
    level = inner;
  }
}
