import assert from "node:assert/strict";
import { Socket } from "node:net";
import { suite, test } from "node:test";

import { SocketTransport } from "../src/transports/socket";
import type { TransportHandler } from "../src/transports/transport";

suite("messages on the socket", () => {
  test("a message that comes byte by byte arrives whole, and its bytes are not kept one by one", () => {
    const message = Buffer.alloc(100_000, "abc");
    const header = Buffer.alloc(4);
    header.writeUInt32LE(message.length);
    const received: Buffer[] = [];
    const handler: TransportHandler = {
      onMessage: (buffer, start, end) => { received.push(Buffer.from(buffer.subarray(start, end))); },
      onRoom: () => undefined,
      onPeerEnd: () => undefined,
      onEnd: () => undefined,
    };
    const socket = new Socket();
    const transport = new SocketTransport(socket, 1 << 20, handler);
    transport.start(Buffer.alloc(0));
    let most = 0;
    for (const byte of Buffer.concat([header, message])) {
      socket.emit("data", Buffer.from([byte]));
      most = Math.max(most, (transport as unknown as { parts: Buffer[] }).parts.length);
    }
    assert.equal(received.length, 1);
    assert.ok(received[0]?.equals(message));
    assert.ok(most < 50, `${most} parts`);
    transport.close();
  });
});
