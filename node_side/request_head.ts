/** What a request's head must be, beyond what Node's parser sees to; python_side/request_head.py is the same for Flask. */

import type { IncomingMessage } from "node:http";

import { HttpError } from "./http_error";

/** The longest request line, and the longest header field, in bytes: gunicorn's limits. */
const MAX_LINE_BYTES = 8190;
const MAX_HEADER_FIELDS = 100;

/** For Node's parser: one field more than is allowed is seen, and a line that is too long is seen to be one. */
export const PARSER_LIMITS = { maxHeaderSize: 1 << 16, maxHeadersCount: MAX_HEADER_FIELDS + 1 } as const;

/** The methods of RFC 9110 and RFC 5789; a server that does not know a method answers 501 (RFC 9110 section 9.1). */
const METHODS = new Set(["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"]);

/** Header fields that a request has once (RFC 9110 section 5.3): a proxy in front may have believed the other one. */
const SINGLE_FIELDS = ["content-type"] as const;

/** RFC 9110 section 7.2: uri-host [ ":" port ]. A name is of labels (RFC 3986 section 3.2.2), or empty. */
const HOST = /^(?:\[[0-9a-f:.]+\]|(?:[\w~!$&'()*+,;=%-]{1,63}(?:\.[\w~!$&'()*+,;=%-]{1,63})*\.?)?)(?::\d*)?$/i;

/** RFC 9112 section 3.2.2: what a client sends to a proxy. The scheme, then the authority, which goes before Host. */
const ABSOLUTE = /^([a-z][a-z0-9+.-]*):\/\/([^/?]*)/i;

const CLOSE = /(?:^|,)[ \t]*close[ \t]*(?:,|$)/i;

export interface RequestHead {
  /** Decoded. */
  path: string;
  query: URLSearchParams;
}

/** Reads a request's head. Throws HttpError for what it may not be, with `close`: who sends that may mean another framing, too. */
export function readHead(request: IncomingMessage): RequestHead {
  requireVersion(request);
  requireMethod(request.method ?? "");
  requireLimits(request);
  requireHost(request);
  requireSingleFields(request);
  requireFraming(request);
  requireExpectation(request);
  return readTarget(request.url ?? "", request.method ?? "");
}

/** RFC 9110 section 10.1.1. */
export function expectsContinue(request: IncomingMessage): boolean {
  return request.headers.expect?.toLowerCase() === "100-continue" && request.httpVersion === "1.1";
}

/** RFC 9112 section 9.3: `close` counts also beside `keep-alive`, and with a tab around it; Node's parser does not see those. */
export function asksToClose({ headers }: IncomingMessage): boolean {
  return headers.connection !== undefined && CLOSE.test(headers.connection);
}

export function requireMethod(method: string): void {
  if (!METHODS.has(method)) {
    throw closing(501, `The method ${method} is not implemented`);
  }
}

function requireVersion(request: IncomingMessage): void {
  if (request.httpVersion === "0.9" && request.rawHeaders.length === 0) {
    throw closing(400, "The request line has no version");
  }
  if (request.httpVersion !== "1.1" && request.httpVersion !== "1.0") {
    throw closing(505, `HTTP/${request.httpVersion} is not spoken here`);
  }
}

function requireLimits(request: IncomingMessage): void {
  const { method = "", url = "", rawHeaders } = request;
  if (method.length + url.length + " ".length + " HTTP/1.1".length > MAX_LINE_BYTES) {
    throw closing(414, `The request line is longer than ${MAX_LINE_BYTES} bytes`);
  }
  if (rawHeaders.length > 2 * MAX_HEADER_FIELDS) {
    throw closing(431, `There are more than ${MAX_HEADER_FIELDS} header fields`);
  }
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (lengthOf(rawHeaders[at]) + ": \r\n".length + lengthOf(rawHeaders[at + 1]) > MAX_LINE_BYTES) {
      throw closing(431, `A header field is longer than ${MAX_LINE_BYTES} bytes`);
    }
  }
}

/** RFC 9112 section 3.2: a proxy in front may have taken another host for the request's than we would. */
function requireHost(request: IncomingMessage): void {
  const hosts = occurrences(request, "host");
  if (hosts > 1 || (hosts === 0 && request.httpVersion === "1.1")) {
    throw closing(400, `A request must have one Host header, this one has ${hosts}`);
  }
  if (!HOST.test(request.headers.host ?? "")) {
    throw closing(400, "The Host header is not the name of a host");
  }
}

function requireSingleFields(request: IncomingMessage): void {
  for (const name of SINGLE_FIELDS) {
    if (occurrences(request, name) > 1) {
      throw closing(400, `A request must have at most one header field ${name}`);
    }
  }
}

/** How often a request has a header field; `headersDistinct` would collect all of them for that. */
function occurrences({ rawHeaders }: IncomingMessage, name: string): number {
  let count = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const field = rawHeaders[at];
    if (field?.length === name.length && field.toLowerCase() === name) count += 1;
  }
  return count;
}

function lengthOf(text: string | undefined): number {
  return text?.length ?? 0;
}

/** RFC 9112 section 6: any coding in HTTP/1.0, one that is not known, and whatever leaves the end of the body unclear. */
function requireFraming(request: IncomingMessage): void {
  const coding = request.headers["transfer-encoding"];
  if (coding === undefined) return;
  if (request.httpVersion === "1.0") {
    throw closing(400, "HTTP/1.0 has no Transfer-Encoding");
  }
  if (!/(?:^|,)[ \t]*chunked$/i.test(coding)) {
    throw closing(400, "The last transfer coding must be chunked");
  }
  if (coding.toLowerCase() !== "chunked") {
    throw closing(501, "The only transfer coding here is chunked");
  }
}

function requireExpectation(request: IncomingMessage): void {
  const expected = request.headers.expect;
  if (expected !== undefined && expected.toLowerCase() !== "100-continue") {
    throw closing(417, `Unable to comply with expectation: ${expected.slice(0, 100)}`);
  }
}

function readTarget(target: string, method: string): RequestHead {
  if (target === "*" && method === "OPTIONS") {
    return { path: "*", query: new URLSearchParams() };
  }
  const [absolute = "", scheme, authority = ""] = target.startsWith("/") ? [] : (ABSOLUTE.exec(target) ?? []);
  const isForUs = scheme === undefined || (/^https?$/i.test(scheme) && authority !== "" && HOST.test(authority));
  const rest = target.slice(absolute.length);
  const origin = absolute !== "" && !rest.startsWith("/") ? `/${rest}` : rest;
  if (!isForUs || !origin.startsWith("/") || origin.includes("#")) {
    throw closing(400, "The request target is neither a path nor an http URL");
  }
  const queryAt = origin.indexOf("?");
  const [path, query] = queryAt < 0 ? [origin, ""] : [origin.slice(0, queryAt), origin.slice(queryAt + 1)];
  return { path: decoded(path), query: new URLSearchParams(query) };
}

/** RFC 3986 section 6.2.2.2. What cannot be decoded is no path of ours either way. */
function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

function closing(status: number, message: string): HttpError {
  return new HttpError(status, message, { Connection: "close" });
}
