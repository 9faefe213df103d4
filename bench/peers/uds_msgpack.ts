/** A Unix socket and MessagePack, written by hand: length u32 and the message, one call at a time. */

import { once } from "node:events";
import net from "node:net";
import path from "node:path";

import { pack, unpack } from "msgpackr";

import { echo } from "../workload";
import type { Caller } from "./interface";

const LENGTH_BYTES = 4;

function send(connection: net.Socket, message: unknown): void {
  const body = pack(message);
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + body.length);
  frame.writeUInt32LE(body.length, 0);
  body.copy(frame, LENGTH_BYTES);
  connection.write(frame);
}

/** Call `onMessage` for each whole message that arrives. */
function receive(connection: net.Socket, onMessage: (message: unknown) => void): void {
  let pending: Buffer = Buffer.alloc(0);
  connection.on("data", (chunk) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    while (pending.length >= LENGTH_BYTES) {
      const end = LENGTH_BYTES + pending.readUInt32LE(0);
      if (pending.length < end) return;
      onMessage(unpack(pending.subarray(LENGTH_BYTES, end)));
      pending = pending.subarray(end);
    }
  });
}

export async function connect(address: string): Promise<Caller> {
  const connection = net.connect(path.join(address, "node.sock"));
  await once(connection, "connect");
  let answer: (value: unknown) => void = () => undefined;
  receive(connection, (message) => {
    answer(message);
  });
  return {
    call: (value) =>
      new Promise((resolve) => {
        answer = resolve;
        send(connection, value);
      }),
    close: async () => {
      connection.end();
      await once(connection, "close");
    },
  };
}

export async function serve(address: string): Promise<void> {
  const server = net.createServer((connection) => {
    receive(connection, (message) => {
      send(connection, echo(message));
    });
  });
  server.listen(path.join(address, "node.sock"));
  await once(server, "listening");
}
