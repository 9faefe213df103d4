import assert from "node:assert/strict";
import { suite, test } from "node:test";

import { ProtocolError, VersionMismatch } from "../src/errors";
import { decodeAnswer, decodeHello, encodeHello, encodeRefusal, encodeWelcome, type Hello, isSegmentName, PROTOCOL_MINOR } from "../src/handshake";
import { encode } from "../src/values";
import fc from "./fast_check";
import { type BadVector, readVectors } from "./tagged";

const segment = `/shm-polyglot-${"0123456789abcdef".repeat(2)}`;
const hello: Hello = {
  role: "worker",
  transport: "shm",
  name: "gunicorn worker 3",
  language: "python 3.12.1",
  library: "0.1.0",
  maxMessage: 67108864,
  segment,
};

function packet(body: unknown, major = 1, magic = "SHMP"): Buffer {
  const bytes = encode(body);
  const header = Buffer.alloc(12);
  header.write(magic, "latin1");
  header.writeUInt16LE(major, 4);
  header.writeUInt32LE(bytes.length, 8);
  return Buffer.concat([header, bytes]);
}

const body = {
  role: "client",
  transport: "socket",
  name: "n",
  language: "l",
  library: "v",
  max_message: 1000,
};

suite("hello", () => {
  test("what is encoded is decoded", () => {
    const bytes = encodeHello(hello);
    assert.deepEqual(decodeHello(bytes), { hello, minor: PROTOCOL_MINOR, bytes: bytes.length });
  });

  test("so is one with everything that may be in it, at its longest", () => {
    const longest: Hello = { ...hello, name: "\u{1F600}".repeat(128), exposes: 65536, project: "\u{1F600}".repeat(256) };
    const bytes = encodeHello(longest);
    assert.deepEqual(decodeHello(bytes), { hello: longest, minor: PROTOCOL_MINOR, bytes: bytes.length });
  });

  test("the header is magic, version and length, little-endian", () => {
    const bytes = encodeHello(hello);
    assert.equal(bytes.toString("hex", 0, 8), "53484d5001000200");
    assert.equal(bytes.readUInt32LE(8), bytes.length - 12);
  });

  test("what follows the hello is not taken", () => {
    const bytes = encodeHello(hello);
    assert.equal(decodeHello(Buffer.concat([bytes, Buffer.from("rest")]))?.bytes, bytes.length);
  });

  test("no part of a hello is one", () => {
    const bytes = encodeHello(hello);
    for (let end = 0; end < bytes.length; end++) assert.equal(decodeHello(bytes.subarray(0, end)), undefined);
  });

  test("unknown keys are ignored", () => {
    assert.equal(decodeHello(packet({ ...body, future: [1, 2] }))?.hello.name, "n");
  });

  test("another minor version is taken", () => {
    const bytes = encodeHello(hello);
    bytes.writeUInt16LE(7, 6);
    assert.deepEqual(decodeHello(bytes), { hello, minor: 7, bytes: bytes.length });
  });

  test("another major version is a VersionMismatch that names both", () => {
    assert.throws(() => decodeHello(packet(body, 2)), (error) => error instanceof VersionMismatch && /2\.0.*1\.2/.test(error.message));
    // Whatever its body is.
    assert.throws(() => decodeHello(packet(5, 2)), VersionMismatch);
  });

  test("other bytes are refused at the first wrong one, and named", () => {
    assert.throws(() => decodeHello(Buffer.from("GET / HTTP/1.1\r\n")), /it begins with "GET \/ HTTP\/1\.1\\r\\n"/);
    assert.throws(() => decodeHello(Buffer.from("SX")), ProtocolError);
    assert.equal(decodeHello(Buffer.from("SHM")), undefined);
  });

  test("a body of more than 4096 bytes is refused before it comes", () => {
    const header = packet(null).subarray(0, 12);
    header.writeUInt32LE(4097, 8);
    assert.throws(() => decodeHello(header), /4097 bytes/);
  });

  const bad: [string, unknown][] = [
    ["no map", [1]],
    ["a map with other keys", new Map([[1, 2]])],
    ["a role that is none", { ...body, role: "server" }],
    ["a transport that is none", { ...body, transport: "tcp" }],
    ["no name", { ...body, name: undefined }],
    ["an empty name", { ...body, name: "" }],
    ["a name of 129 characters", { ...body, name: "x".repeat(129) }],
    ["a language that is a number", { ...body, language: 3 }],
    ["no library", { ...body, library: null }],
    ["a max_message of 0", { ...body, max_message: 0 }],
    ["a max_message that is no int", { ...body, max_message: 1.5 }],
    ["shm without a segment", { ...body, transport: "shm" }],
    ["a number of functions below 0", { ...body, exposes: -1 }],
    ["too large a number of functions", { ...body, exposes: 65537 }],
    ["a number of functions that is no int", { ...body, exposes: "1" }],
    ["a project that is a number", { ...body, project: 1 }],
    ["a project that is nil", { ...body, project: null }],
    ["a project of 257 characters", { ...body, project: "x".repeat(257) }],
    ["a segment that is a path", { ...body, transport: "shm", segment: "/shm-polyglot-../../etc/passwd" }],
    ["a segment with too many digits", { ...body, transport: "shm", segment: `${segment}0` }],
    ["a segment with a line end", { ...body, transport: "shm", segment: `${segment}\n` }],
  ];
  for (const [name, value] of bad) {
    test(`${name} is a ProtocolError`, () => {
      assert.throws(() => decodeHello(packet(value)), (error) => error instanceof ProtocolError && !(error instanceof VersionMismatch));
    });
  }

  test("no bytes do anything but wait, decode or raise a ProtocolError", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (tail) => {
        for (const bytes of [Buffer.from(tail), Buffer.concat([Buffer.from("SHMP\x01\0\0\0\x10\0\0\0", "latin1"), tail])]) {
          try {
            decodeHello(bytes);
          } catch (error) {
            assert.ok(error instanceof ProtocolError, String(error));
          }
        }
      }),
    );
  });
});

suite("answers", () => {
  test("a welcome and a refusal are told apart", () => {
    const welcome = { name: "server.ts", language: "node 20", library: "0.1.0", maxMessage: 1000 };
    assert.deepEqual(decodeAnswer(encodeWelcome(welcome))?.answer, welcome);
    const withProject = { ...welcome, project: "/home/me/shop" };
    assert.deepEqual(decodeAnswer(encodeWelcome(withProject))?.answer, withProject);
    const refusal = { code: "Busy", message: "full" };
    assert.deepEqual(decodeAnswer(encodeRefusal(refusal))?.answer, refusal);
  });

  test("a refusal with a long message still fits", () => {
    const bytes = encodeRefusal({ code: "Busy", message: "\u{1F600}".repeat(5000) });
    assert.ok(bytes.length <= 12 + 4096);
    assert.ok(decodeAnswer(bytes) !== undefined);
  });

  test("another status is a ProtocolError", () => {
    assert.throws(() => decodeAnswer(packet({ status: "maybe" })), ProtocolError);
  });
});

test("only names of the one form are names of segments", () => {
  assert.ok(isSegmentName(segment));
  for (const name of ["", "/shm-polyglot-", segment.toUpperCase(), segment.slice(1), `${segment}/x`]) assert.ok(!isSegmentName(name));
});

suite("the vectors", () => {
  const decoders = { hello: decodeHello, answer: decodeAnswer };
  for (const { name, wire, of } of readVectors("bad") as BadVector[]) {
    if (of !== "hello" && of !== "answer") continue;
    test(`refuses ${name}`, () => {
      assert.throws(() => decoders[of](Buffer.from(wire, "hex")), ProtocolError);
    });
  }
});
