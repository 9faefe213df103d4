/** ZeroMQ over a Unix socket, with MessagePack of [function, argument] and of the answer. */

import path from "node:path";

import { pack, unpack } from "msgpackr";
import { Dealer, Router } from "zeromq";

import { functionNamed } from "../workload";
import { plain } from "./bytes";
import type { Caller } from "./interface";

const ID_BYTES = 4;

function endpoint(address: string): string {
  return `ipc://${path.join(address, "zeromq.sock")}`;
}

export function start(address: string): Promise<Caller> {
  // Without a limit to what is queued, sending never has to wait, and so never is in the way of the next call.
  const dealer = new Dealer({ linger: 0, sendHighWaterMark: 0, sendTimeout: 0 });
  dealer.connect(endpoint(address));
  const waiting = new Map<number, (answer: unknown) => void>();
  let last = 0;

  async function receive(): Promise<void> {
    for await (const [id, answer] of dealer) {
      if (id === undefined || answer === undefined) throw new Error("an answer of less than two parts");
      const number = id.readUInt32LE();
      const resolve = waiting.get(number);
      waiting.delete(number);
      resolve?.(plain(unpack(answer)));
    }
  }
  const received = receive();

  return Promise.resolve({
    call: (function_, argument) =>
      new Promise((resolve, reject) => {
        const id = Buffer.allocUnsafe(ID_BYTES);
        last = (last + 1) >>> 0;
        id.writeUInt32LE(last);
        waiting.set(last, resolve);
        dealer.send([id, pack([function_, argument])]).catch(reject);
      }),
    stop: () => {
      dealer.close();
      return received;
    },
  });
}

export async function serve(address: string): Promise<void> {
  const router = new Router({ linger: 0 });
  await router.bind(endpoint(address));

  async function answer(): Promise<void> {
    for await (const parts of router) {
      // Whose call it is, and which of theirs: it goes back as it came.
      const [function_, argument] = unpack(parts.pop() ?? Buffer.alloc(0)) as [string, unknown];
      await router.send([...parts, pack(functionNamed(function_)(argument))]);
    }
  }
  void answer();
}
