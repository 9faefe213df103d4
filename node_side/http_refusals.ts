import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";

import { closeWith, endWith } from "./http_answers";
import { HttpError } from "./http_error";
import { MAX_BODY_BYTES } from "./json_body";
import { requireMethod } from "./request_head";

/** What Node says of bytes that are no request. */
interface ParserError extends NodeJS.ErrnoException {
  reason?: string;
  rawPacket?: Buffer;
  bytesParsed?: number;
}

/** A request line whose method gunicorn's parser takes. */
const REQUEST_LINE = /^([A-Z0-9!$%&'*+.^_`|~-]{3,20}) \S+ HTTP\/1\.[01]\r\n/;

/** Too few to be a request: line ends, as some clients send between requests. */
const FEW_BYTES = 4;

/**
 * Which answers each connection is owed, and what it gets for bytes that are no request: an error, after those answers, and
 * its end.
 */
export class Refusals {
  private readonly owed = new WeakMap<Duplex, ServerResponse[]>();
  private readonly ended = new WeakSet<Duplex>();

  /** Whether the connection's end has been announced: what comes on it now is no request any more. */
  hasEnded(socket: Duplex): boolean {
    return this.ended.has(socket);
  }

  /** Nothing else is answered on this connection. */
  end(socket: Duplex): void {
    this.ended.add(socket);
  }

  /** An answer is owed from now until the response closes. */
  owe(request: IncomingMessage, response: ServerResponse): void {
    const owed = this.owed.get(request.socket) ?? this.begin(request.socket);
    owed.push(response);
    response.on("close", () => { owed.splice(owed.indexOf(response), 1); });
  }

  private begin(socket: Duplex): ServerResponse[] {
    const owed: ServerResponse[] = [];
    this.owed.set(socket, owed);
    return owed;
  }

  /** For the server's `clientError`. */
  refuse(error: ParserError, socket: Duplex): void {
    if (this.ended.has(socket) || error.code === "HPE_CLOSED_CONNECTION") return;
    this.ended.add(socket);
    const isSilent = error.code === "ERR_HTTP_REQUEST_TIMEOUT" && socket instanceof Socket && socket.bytesRead <= FEW_BYTES;
    if (!socket.writable || error.code === "ECONNRESET" || isSilent) {
      socket.destroy();
      return;
    }
    const { status, message } = refusalOf(error);
    this.afterOwed(socket, () => { endWith(socket, status, message); });
  }

  /** Calls `answer` when the answers to what came before have gone. The request that is at fault itself gets no other. */
  afterOwed(socket: Duplex, answer: () => void): void {
    const owed = this.owed.get(socket) ?? [];
    const last = owed.at(-1);
    if (last === undefined) {
      answer();
    } else if (last.req.complete) {
      last.once("close", answer);
    } else if (last.headersSent) {
      closeWith(socket);
    } else {
      const before = owed.at(-2);
      if (before === undefined) answer();
      else before.once("close", answer);
    }
  }
}

function refusalOf(error: ParserError): { status: number; message: string } {
  switch (error.code) {
    case "HPE_HEADER_OVERFLOW":
      return { status: 431, message: STATUS_CODES[431] ?? "" };
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return { status: 408, message: "The request did not arrive in time" };
    case "HPE_INVALID_EOF_STATE":
      return { status: 400, message: "The request ended too soon" };
    case "HPE_INVALID_VERSION":
      return ofVersion(error);
    case "HPE_INVALID_METHOD":
    case "HPE_INVALID_CONSTANT":
      return unknownMethod(error);
    default:
      break;
  }
  if (error.reason === "Content-Length overflow") {
    return { status: 413, message: `The request body is larger than ${MAX_BODY_BYTES} bytes` };
  }
  return { status: 400, message: `Malformed request: ${error.reason ?? error.message}` };
}

/** Another version, or no version at all. */
function ofVersion(error: ParserError): { status: number; message: string } {
  const [, version] = /^\S+ \S+ HTTP\/(\d\.\d)\r\n/.exec(lineOf(error)) ?? [];
  return version === undefined
    ? { status: 400, message: "Malformed request: Invalid HTTP version" }
    : { status: 505, message: `HTTP/${version} is not spoken here` };
}

/** What the client sent from the beginning of the line that is at fault, as far as it came in one piece. */
function lineOf({ rawPacket, bytesParsed = 0 }: ParserError): string {
  const packet = rawPacket?.toString("latin1") ?? "";
  return packet.slice(packet.lastIndexOf("\n", bytesParsed - 1) + 1);
}

/** Node's parser knows its methods only; one that it does not know is no mistake of form. */
function unknownMethod(error: ParserError): { status: number; message: string } {
  const method = REQUEST_LINE.exec(lineOf(error))?.[1];
  try {
    if (method !== undefined) requireMethod(method);
  } catch (refusal) {
    if (refusal instanceof HttpError) return refusal;
    throw refusal;
  }
  return { status: 400, message: "Malformed request: Invalid method" };
}
