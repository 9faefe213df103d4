/** What the Node side of `test_exceptions.py` throws, and how it tells what it caught. */

import { type BridgeError, registerError, RemoteError, RemoteErrorGroup } from "@shm-polyglot/protocol";

export class AgeError extends Error {
  override name = "AgeError";

  constructor(age: number, readonly data: unknown) {
    super(`${age} is no age`);
  }

  get least(): unknown {
    return (this.data as { least: number }).least;
  }
}

registerError("AgeError", AgeError);
class ValueError extends RangeError {}
registerError("ValueError", ValueError);

class BabyError extends AgeError {}

export const errorFunctions = {
  throwRegistered: () => { throw new BabyError(-1, { least: 0 }); },
  throwCaused: () => { throw new Error("outer", { cause: new TypeError("middle", { cause: new AgeError(200, { least: 1 }) }) }); },
  throwGroup: () => Promise.any([Promise.reject(new TypeError("first")), Promise.reject(new AgeError(300, { least: 2 })), Promise.reject(new Error("third"))]),
};

/** An error and all that is in it. */
export function told(error: unknown): unknown {
  if (!(error instanceof RemoteError)) return String(error);
  const { code, fromPeer, type, message, data, remoteStack, cause } = error;
  return {
    code,
    fromPeer,
    type,
    message,
    data,
    hasStack: remoteStack !== "" && (error.stack ?? "").includes(remoteStack),
    stack: error.stack ?? "",
    isAgeError: error instanceof AgeError,
    least: error instanceof AgeError ? (error as AgeError).least : null,
    isRangeError: error instanceof RangeError,
    isAggregateError: error instanceof AggregateError && error instanceof RemoteErrorGroup,
    cause: cause === undefined ? null : told(cause),
    errors: error instanceof AggregateError ? error.errors.map(told) : (error as { errors?: BridgeError[] }).errors?.map(told) ?? null,
  };
}
