import {
  BridgeError,
  Busy,
  CallTimeout,
  ConnectionClosed,
  EncodeError,
  MessageTooLarge,
  PeerGone,
  PeerUnavailable,
  RemoteError,
} from "@shm-polyglot/protocol";

import { HttpError } from "./http_error";
import { log } from "./log";

/** A worker that has gone is replaced, and dials, within a second. */
const RETRY_SOON = { "Retry-After": "1" };

/** What an HTTP client is told when a call to Python fails. The log gets the rest, with the remote stack. */
export function fromBridgeError(error: BridgeError): HttpError {
  // Every value sent comes from the request. What Python says of its own result is Python's fault.
  if (error instanceof EncodeError && !error.fromPeer) {
    return new HttpError(400, error.message);
  }
  if (error instanceof MessageTooLarge && !error.fromPeer) {
    return new HttpError(413, error.message);
  }
  const fields = error instanceof RemoteError ? { stack: error.remoteStack } : {};
  log.error("call to Python failed", { code: error.code, reason: error.message, ...fields });
  if (error instanceof PeerUnavailable) {
    return new HttpError(503, "No Python worker is attached", RETRY_SOON);
  }
  if (error instanceof PeerGone || error instanceof ConnectionClosed) {
    return new HttpError(503, "The Python worker went away during the call", RETRY_SOON);
  }
  if (error instanceof Busy) {
    return new HttpError(503, "Too many calls to Python are waiting", RETRY_SOON);
  }
  if (error instanceof CallTimeout) {
    return new HttpError(504, "Python did not answer in time");
  }
  if (error instanceof EncodeError || error instanceof MessageTooLarge) {
    return new HttpError(502, "Python's answer could not be sent");
  }
  return new HttpError(500, "Internal server error");
}
