/** A Unix socket and MessagePack, written by hand: length u32, then [function, argument]; the answer likewise. */

import { once } from "node:events";
import net from "node:net";
import path from "node:path";

import { addExtension, pack, RESERVE_START_SPACE, unpack, Unpackr } from "msgpackr";

import { functionNamed } from "../workload";
import { plain } from "./bytes";
import { InOrder } from "./in_order";
import type { Caller } from "./interface";

const LENGTH_BYTES = 4;
const ARRIVING_BYTES = 1024 * 1024;

// The bytes of an array of float64; copied, because they may stand anywhere.
addExtension({
  Class: Float64Array,
  type: 1,
  pack: (array: Float64Array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength),
  unpack: (bytes: Buffer) => new Float64Array(Uint8Array.from(bytes).buffer),
});

function socketPath(address: string): string {
  return path.join(address, "node.sock");
}

function send(connection: net.Socket, message: unknown): void {
  const frame = pack(message, RESERVE_START_SPACE + LENGTH_BYTES);
  frame.writeUInt32LE(frame.length - LENGTH_BYTES, 0);
  connection.write(frame);
}

/**
 * For what arrives in pieces: calls `onMessage` for each whole message. A message that came in one piece is given as a
 * part of that piece, which may be written over afterwards.
 */
export function cut(onMessage: (message: Buffer) => void): (piece: Buffer) => void {
  // Room for the message under way, or for its length as long as that is not whole.
  let room = Buffer.alloc(0);
  let filled = 0;
  return (piece) => {
    let start = 0;
    while (start < piece.length) {
      if (filled === 0) {
        const left = piece.length - start;
        const size = LENGTH_BYTES + (left < LENGTH_BYTES ? 0 : piece.readUInt32LE(start));
        if (left >= size) {
          onMessage(piece.subarray(start + LENGTH_BYTES, start + size));
          start += size;
          continue;
        }
        room = Buffer.allocUnsafe(size);
      }
      const copied = piece.copy(room, filled, start);
      filled += copied;
      start += copied;
      if (filled < room.length) return;
      if (filled === LENGTH_BYTES) {
        room = Buffer.allocUnsafe(LENGTH_BYTES + room.readUInt32LE(0));
      } else {
        filled = 0;
        onMessage(room.subarray(LENGTH_BYTES));
      }
    }
  };
}

export async function start(address: string): Promise<Caller> {
  const answers = new InOrder();
  // Copied, because a buffer in an answer would otherwise be a part of the one that all arrives in.
  const unpackr = new Unpackr({ useRecords: false, copyBuffers: true });
  const arrive = cut((answer) => {
    answers.answer(plain(unpackr.unpack(answer)));
  });
  const arriving = Buffer.allocUnsafeSlow(ARRIVING_BYTES);
  const connection = net.connect({
    path: socketPath(address),
    // Node would otherwise allocate a buffer for each read.
    onread: {
      buffer: arriving,
      callback: (bytes) => {
        arrive(arriving.subarray(0, bytes));
        return true;
      },
    },
  });
  await once(connection, "connect");
  connection.on("error", (error) => {
    answers.fail(error);
  });
  connection.on("close", () => {
    answers.fail(new Error("the other side has closed the connection; why is in its own output"));
  });
  return {
    call: (function_, argument) => {
      send(connection, [function_, argument]);
      return answers.next();
    },
    stop: async () => {
      connection.end();
      if (!connection.closed) await once(connection, "close");
    },
  };
}

/** Answer every connection. */
export async function listen(address: string): Promise<net.Server> {
  const server = net.createServer((connection) => {
    connection.on(
      "data",
      cut((message) => {
        const [function_, argument] = unpack(message) as [string, unknown];
        send(connection, functionNamed(function_)(argument));
      }),
    );
  });
  server.listen(socketPath(address));
  await once(server, "listening");
  return server;
}

export async function serve(address: string): Promise<void> {
  await listen(address);
}
