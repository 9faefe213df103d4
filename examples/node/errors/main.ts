/** What may become of a call, and what to do about it. */

import { CallTimeout, EncodeError, listen, PeerUnavailable, RemoteError, UnknownMethod } from "@shm-polyglot/protocol";

const bridge = await listen();

// No worker is attached. The call was not made, so it may be made again when one is.
for (let attempts = 0; ; attempts++) {
  try {
    await bridge.call("form.check", [{ age: 20 }]);
    break;
  } catch (error) {
    if (!(error instanceof PeerUnavailable)) throw error;
    if (attempts === 0) await new Promise((resolve) => bridge.once("connect", resolve));
  }
}

/** Awaits a call that fails, and gives its error where it is of this class. */
async function failing<E extends Error>(kind: abstract new (...args: never[]) => E, call: Promise<unknown>): Promise<E> {
  try {
    await call;
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
  throw new Error("it has not failed");
}

// The function raised. The connection is fine; type, message, data and stack are those of the other side.
const remote = await failing(RemoteError, bridge.call("form.check", [{ age: 200 }]));
console.log("RemoteError:", remote.type, "|", remote.message, "|", remote.data, "|", remote.remoteStack.includes("worker.py"));

// A value that cannot be sent; the path says where it is. Nothing was sent: convert it and call again.
const encode = await failing(EncodeError, bridge.call("form.check", [{ age: 20, languages: new Set(["en", "fr"]) }]));
console.log("EncodeError:", encode.message);

// Nothing of that name is exposed: a typing error, or an older worker.
const unknown = await failing(UnknownMethod, bridge.call("form.chekc", [{ age: 20 }]));
console.log("UnknownMethod:", unknown.message);

// No answer in time. The function may have run, or may still: call again only what may run twice.
const late = await failing(CallTimeout, bridge.call("form.report", [], { timeoutMs: 200 }));
console.log("CallTimeout:", late.message);

await bridge.close();
