import assert from "node:assert/strict";
import { test } from "node:test";

import {
  type BridgeError,
  Busy,
  CallTimeout,
  ConnectionClosed,
  EncodeError,
  MessageTooLarge,
  PeerGone,
  PeerUnavailable,
  RemoteError,
  UnknownMethod,
} from "@shm-polyglot/protocol";

import { fromBridgeError } from "../bridge_errors";

test("each error has its status and tells an HTTP client no secret", (context) => {
  context.mock.method(process.stderr, "write", () => true);
  const expected: [BridgeError, number, string][] = [
    [new PeerUnavailable("secret"), 503, "No Python worker is attached"],
    [new PeerGone("secret"), 503, "The Python worker went away during the call"],
    [new ConnectionClosed("secret"), 503, "The Python worker went away during the call"],
    [new Busy("secret"), 503, "Too many calls to Python are waiting"],
    [new CallTimeout("secret"), 504, "Python did not answer in time"],
    [new EncodeError("args[0]: no"), 400, "args[0]: no"],
    [new MessageTooLarge("3 bytes; max_message is 2"), 413, "3 bytes; max_message is 2"],
    [Object.assign(new EncodeError("secret"), { fromPeer: true }), 502, "Python's answer could not be sent"],
    [Object.assign(new MessageTooLarge("secret"), { fromPeer: true }), 502, "Python's answer could not be sent"],
    [new RemoteError("ValueError", "secret", null, "secret stack"), 500, "Internal server error"],
    [new UnknownMethod("secret"), 500, "Internal server error"],
  ];
  for (const [error, status, message] of expected) {
    const answer = fromBridgeError(error);
    assert.deepEqual([answer.status, answer.message], [status, message], error.code);
    assert.equal("Retry-After" in answer.headers, status === 503, error.code);
  }
});

test("the remote stack goes to the log, on one line", (context) => {
  const write = context.mock.method(process.stderr, "write", () => true);
  fromBridgeError(new RemoteError("ValueError", "the message", null, "Traceback\n  in secret.py"));
  const [line = ""] = write.mock.calls.map((call) => String(call.arguments[0]));
  assert.ok(line.includes("ERROR [node] call to Python failed code=RemoteError reason=the message"), line);
  assert.ok(line.includes("stack=Traceback\\n  in secret.py"), line);
  assert.equal(line.indexOf("\n"), line.length - 1);
});
