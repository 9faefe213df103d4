/**
 * Questions, and the answers that follow from them: an answer that belongs to another question is a wrong one.
 *
 * questions.py is the same in Python.
 */

export const TIMEOUT_MS = 1000 * Number(process.env["CHAOS_TIMEOUT_S"] ?? "2");
const IDLE_MS = 250;
const STALL_MS = 20;
const DEPTH = 4;
const SMALLEST_BLOCK = 20 * 1024;
const BLOCK_SPREAD = 280 * 1024;

/** Calls a function of the peer. */
export type Call = (method: string, args: readonly unknown[]) => Promise<unknown>;

/** The answer to a question, a number below 2^53: 32 bits that each depend on all of the question's. */
export function token(question: number): number {
  const high = Math.floor(question / 2 ** 32);
  const mixed = Math.imul((question >>> 0) ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1) >>> 0;
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

function block(question: number, size: number): Buffer {
  const pattern = Buffer.alloc(4);
  pattern.writeUInt32LE(token(question));
  return Buffer.alloc(size, pattern);
}

function sizeOf(question: number): number {
  return SMALLEST_BLOCK + Math.floor((token(question) % BLOCK_SPREAD) / 4) * 4;
}

/** Asks in the way that `shape` names, and tells whether the answer is right. Rejects with what `call` rejects with. */
export async function ask(call: Call, shape: string, question: number): Promise<boolean> {
  switch (shape) {
    case "mirror": {
      const size = sizeOf(question);
      const answer = await call("peer.mirror", [question, block(question + 1, size)]);
      return answer instanceof Uint8Array && block(question, size).equals(answer);
    }
    case "descend": {
      let expected = question;
      for (let step = 0; step <= DEPTH; step++) expected = token(expected);
      return (await call("peer.descend", [DEPTH, question])) === expected;
    }
    case "stall":
      return (await call("peer.stall", [STALL_MS, question])) === token(question);
    default:
      return (await call("peer.answer", [question])) === token(question);
  }
}

/** Milliseconds until the next question of a lane. */
export function pauseAfter(shape: string): number {
  return shape === "idle" ? IDLE_MS : shape === "stall" ? STALL_MS : 0;
}

/** What Node exposes as `peer`. `callBack` calls whoever made the call that is being served. */
export function peer(callBack: Call): Record<string, (...args: never[]) => unknown> {
  return {
    answer: token,
    /** A block for a block. */
    mirror(question: number, asked: Uint8Array) {
      if (!block(question + 1, asked.length).equals(asked)) {
        throw new Error(`the block of question ${question} does not belong to it`);
      }
      return block(question, asked.length);
    },
    /** Asks the caller, which asks back, `depth` times altogether. */
    descend: async (depth: number, question: number) =>
      token(depth === 0 ? question : ((await callBack("peer.descend", [depth - 1, question])) as number)),
    /** Stands still: this side reads nothing meanwhile. */
    stall(milliseconds: number, question: number) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
      return token(question);
    },
    /** Answers late, while others are answered. */
    later: (milliseconds: number, question: number) =>
      new Promise((resolve) => setTimeout(() => { resolve(token(question)); }, milliseconds)),
  };
}
