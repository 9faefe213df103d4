import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, cpSync, existsSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";

import { socketDescriptor } from "../src/binding";
import { listen } from "../src/bridge";
import { decodeAnswer, encodeHello, encodeRefusal, type Hello } from "../src/handshake";
import { nameOtherListener } from "../src/other_listener";
import { projectFolder, shown } from "../src/project";
import { MAX_GREETING } from "../src/rendezvous";
import { binding, connected, dial, next, readAll, Refused, segmentName, withBridge, withDirectory } from "./dialer";
import { packageRoot } from "./package_root";
import { MemoryLog } from "./pair";

const hello: Hello = { role: "worker", transport: "shm", name: "n", language: "l", library: "v", maxMessage: 1000 };

/** Has no files and no rights. */
const NOBODY = 65534;
const unlessRoot = process.geteuid?.() === 0 ? false : "only root can be another user as well";

/** What somebody else is told who sends these bytes, and the code of the error, if any. */
async function dialAsNobody(path: string, bytes: Buffer): Promise<{ answer: string; error: string }> {
  const program = `
    const socket = require("node:net").connect(process.argv[1]);
    const said = { answer: "", error: "" };
    socket.on("data", (data) => { said.answer += data.toString("hex"); socket.destroy(); });
    socket.on("error", (error) => { if (error.code !== "EPIPE" && error.code !== "ECONNRESET") said.error = error.code; });
    socket.on("close", () => { console.log(JSON.stringify(said)); });
    socket.write(Buffer.from(process.argv[2], "hex"));`;
  const child = spawn(process.execPath, ["-e", program, path, bytes.toString("hex")], {
    uid: NOBODY,
    gid: NOBODY,
    cwd: "/",
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (data: Buffer) => { output += data.toString(); });
  await once(child, "close");
  return JSON.parse(output) as { answer: string; error: string };
}

function refusalIn(bytes: Buffer): { code: string; message: string } {
  const answer = decodeAnswer(bytes)?.answer;
  assert.ok(answer !== undefined && "code" in answer);
  return answer;
}

suite("the socket", () => {
  test("its directory is made with mode 0700, it has mode 0600, and it goes with the bridge", async () => {
    await withDirectory(async (directory) => {
      const path = join(directory, "a", "b", "node.sock");
      const bridge = await listen({ path, log: new MemoryLog() });
      assert.equal(statSync(join(directory, "a", "b")).mode & 0o777, 0o700);
      assert.equal(statSync(path).mode & 0o777, 0o600);
      await bridge.close();
      assert.equal(existsSync(path), false);
    });
  });

  test("a directory that others may enter is refused with the command that helps", async () => {
    await withDirectory(async (directory) => {
      chmodSync(directory, 0o750);
      await assert.rejects(listen({ path: join(directory, "node.sock"), log: new MemoryLog() }), new RegExp(`mode 0750.*chmod 700 ${directory}`));
    });
  });

  test("a directory of another user is refused", { skip: unlessRoot }, async () => {
    await withDirectory(async (directory) => {
      chownSync(directory, NOBODY, NOBODY);
      await assert.rejects(
        listen({ path: join(directory, "node.sock"), log: new MemoryLog() }),
        new RegExp(`belongs to the user ${NOBODY}, this process to 0; set SHM_POLYGLOT_DIR`),
      );
    });
  });

  test("a socket that another bridge listens on is EADDRINUSE, and that bridge is not disturbed", async () => {
    await withBridge({}, async ({ bridge, path }) => {
      await assert.rejects(
        listen({ path, log: new MemoryLog() }),
        (error: NodeJS.ErrnoException) => error.code === "EADDRINUSE" && error.message.includes(path) && error.message.includes("SHM_POLYGLOT_DIR"),
      );
      await dial(path, { transport: "shm", expose: { f: () => 1 } });
      assert.equal(await bridge.call("f"), 1);
    });
  });

  test("that error says who listens: the process, what it is called, and its project", async () => {
    await withBridge({ name: "the first" }, async ({ path, log, bridge }) => {
      const gone = next(bridge, "disconnect");
      const who = `this very process (pid ${process.pid}, "the first" of the project ${shown(projectFolder() ?? "")})`;
      await assert.rejects(listen({ path, log: new MemoryLog() }), (error: Error) => error.message.includes(`${path}: ${who} listens on it; end that process`));
      await gone;
      // Whoever looks after the first sees who else would be there.
      const connected = log.lines.find(({ message }) => message === "connected");
      assert.equal(connected?.fields["peer"], `a process that would listen here, pid ${process.pid}`);
      assert.equal(connected.fields["project"], projectFolder());
    });
  });

  test("of one that does not answer as a bridge does it says what can be known", async () => {
    for (const answer of [undefined, "HTTP/1.1 400 Bad Request\r\n", encodeRefusal({ code: "Busy", message: "full" }), Buffer.alloc(20_000)]) {
      await withDirectory(async (directory) => {
        const path = join(directory, "node.sock");
        const sockets: Socket[] = [];
        const stranger: Server = createServer((socket) => {
          sockets.push(socket);
          socket.on("error", () => undefined);
          // Not to whoever only looks whether anybody is there.
          socket.once("data", () => { if (answer === undefined) socket.destroy(); else socket.write(answer); });
        });
        await new Promise<void>((resolve) => stranger.listen(path, resolve));
        await assert.rejects(listen({ path, log: new MemoryLog() }), (error: Error) => error.message.includes(`${path}: this very process (pid ${process.pid}) listens on it`));
        for (const socket of sockets) socket.destroy();
        await new Promise((resolve) => stranger.close(resolve));
      });
    }
  });

  test("without the addon it says what the other one tells of itself", async () => {
    await withBridge({ name: "\u001b[2Jfirst" }, async ({ path }) => {
      const named = await nameOtherListener(path, new Error("no addon"));
      assert.equal(named, `another process ("\\u001b[2Jfirst" of the project ${shown(projectFolder() ?? "")})`);
    });
  });

  test("a socket that a killed process left is replaced", async () => {
    await withDirectory(async (directory) => {
      const path = join(directory, "node.sock");
      // A listener that is closed without the name being removed, as a kill does it.
      const stale: Server = createServer();
      await new Promise<void>((resolve) => stale.listen(`${path}.moved`, resolve));
      renameSync(`${path}.moved`, path);
      await new Promise((resolve) => stale.close(resolve));
      assert.ok(existsSync(path));
      const bridge = await listen({ path, log: new MemoryLog() });
      await dial(path, { transport: "socket" });
      await bridge.close();
    });
  });

  test("a file that is no socket is not replaced", async () => {
    await withDirectory(async (directory) => {
      const path = join(directory, "node.sock");
      writeFileSync(path, "precious");
      await assert.rejects(listen({ path, log: new MemoryLog() }), /EADDRINUSE.*not a socket/);
      assert.equal(statSync(path).size, 8);
    });
  });

  test("a path that is too long is named with the limit", async () => {
    const path = `/tmp/${"x".repeat(120)}/node.sock`;
    await assert.rejects(listen({ path, log: new MemoryLog() }), /107/);
  });

  test("SO_PEERCRED tells the uid of the other side", async () => {
    await withBridge({}, async ({ path }) => {
      const socket = await connected(path);
      assert.equal(binding.peerUid(socketDescriptor(socket)), process.getuid?.());
      socket.destroy();
      assert.throws(() => socketDescriptor(socket), /does not tell the descriptor/);
    });
  });
});

suite("a dialer", () => {
  test("that sends something else gets no answer, and the log names its first bytes", async () => {
    await withBridge({}, async ({ path, log }) => {
      const socket = await connected(path);
      socket.write("GET / HTTP/1.1\r\n\r\n");
      assert.equal((await readAll(socket)).length, 0);
      assert.match(String(log.lines.at(-1)?.fields["reason"]), /it begins with "GET \/ HTTP/);
    });
  });

  test("that closes at once, or in the middle of its hello, disturbs nobody", async () => {
    await withBridge({}, async ({ bridge, path, log }) => {
      (await connected(path)).destroy();
      const socket = await connected(path);
      socket.write(encodeHello({ ...hello, transport: "socket" }).subarray(0, 20));
      while (socket.bytesWritten < 20) await turn();
      socket.destroy();
      while (!log.lines.some(({ message }) => message.includes("went away"))) await turn();
      await dial(path, { transport: "shm", expose: { f: () => 1 } });
      assert.equal(await bridge.call("f"), 1);
    });
  });

  test("whose hello comes byte by byte, with frames right behind it, is served", async () => {
    await withBridge({ expose: { f: () => 1 } }, async ({ path }) => {
      const socket = await connected(path);
      const frame = Buffer.from("08000000940001a16690", "hex");
      frame.writeUInt32LE(frame.length - 4);
      const bytes = Buffer.concat([encodeHello({ ...hello, transport: "socket" }), frame]);
      socket.setNoDelay(true);
      for (const byte of bytes) {
        socket.write(Buffer.from([byte]));
        await turn();
      }
      let received = Buffer.alloc(0);
      socket.on("data", (chunk: Buffer) => { received = Buffer.concat([received, chunk]); });
      while (!received.includes(Buffer.from("940101c001", "hex"))) await turn();
      socket.destroy();
    });
  });

  test("of another major version is refused with VersionMismatch, which names both versions here and there", async () => {
    await withBridge({}, async ({ path, log }) => {
      const socket = await connected(path);
      const bytes = encodeHello({ ...hello, transport: "socket" });
      bytes.writeUInt16LE(9, 4);
      socket.write(bytes);
      const refusal = refusalIn(await readAll(socket));
      assert.equal(refusal.code, "VersionMismatch");
      assert.match(refusal.message, /9\.2.*1\.2/);
      assert.match(String(log.lines.at(-1)?.fields["reason"]), /9\.2.*1\.2/);
    });
  });

  test("whose segment is not there is refused with what both sides must share", async () => {
    await withBridge({}, async ({ path }) => {
      const socket = await connected(path);
      socket.write(encodeHello({ ...hello, segment: segmentName() }));
      const refusal = refusalIn(await readAll(socket));
      assert.equal(refusal.code, "PeerUnavailable");
      assert.match(refusal.message, /\/dev\/shm/);
    });
  });

  const garbage: [string, Buffer, string, RegExp][] = [
    ["is not ours", Buffer.alloc(12288, 0x55), "ProtocolError", /not one of shm-polyglot's/],
    ["is empty", Buffer.alloc(0), "ProtocolError", /sizes do not add up|not one of/],
    ["is not ready", Buffer.concat([Buffer.from("SHMPOLYG"), Buffer.alloc(12280)]), "ProtocolError", /not ready/],
    ["has another layout", Buffer.concat([Buffer.from("SHMPOLYG"), Buffer.from([9, 0, 0, 0]), Buffer.alloc(12276)]), "VersionMismatch", /layout version/],
    ["is damaged", Buffer.concat([Buffer.from("SHMPOLYG"), Buffer.from([1, 0, 0, 0, 7, 0, 0, 0]), Buffer.alloc(12272)]), "ProtocolError", /do not add up/],
  ];
  for (const [what, bytes, code, message] of garbage) {
    test(`whose segment ${what} is refused, and the next one is served`, async () => {
      await withBridge({}, async ({ bridge, path }) => {
        const segment = segmentName();
        writeFileSync(`/dev/shm${segment}`, bytes, { mode: 0o600 });
        try {
          const socket = await connected(path);
          socket.write(encodeHello({ ...hello, segment }));
          const refusal = refusalIn(await readAll(socket));
          assert.equal(refusal.code, code);
          assert.match(refusal.message, message);
        } finally {
          rmSync(`/dev/shm${segment}`, { force: true });
        }
        await dial(path, { transport: "shm", expose: { f: () => 1 } });
        assert.equal(await bridge.call("f"), 1);
      });
    });
  }

  test("with a transport that this side does not take is refused", async () => {
    await withBridge({ transport: "socket" }, async ({ path }) => {
      await assert.rejects(dial(path, { transport: "shm" }), (error) => error instanceof Refused && error.refusal.code === "PeerUnavailable" && error.message.includes("only the socket transport"));
      await dial(path, { transport: "socket" });
    });
    await withBridge({ transport: "shm" }, async ({ path }) => {
      await assert.rejects(dial(path, { transport: "socket" }), Refused);
      await dial(path, { transport: "shm" });
    });
  });

  test("of another user is turned away, even where the modes would let it in", { skip: unlessRoot }, async () => {
    await withBridge({}, async ({ bridge, path, log, directory }) => {
      // As if somebody had opened the door after the bridge had closed it.
      chmodSync(directory, 0o755);
      chmodSync(path, 0o666);
      const said = await dialAsNobody(path, encodeHello({ ...hello, transport: "socket" }));
      assert.deepEqual(said, { answer: "", error: "" });
      assert.deepEqual(
        log.lines.filter(({ level }) => level === "warn").map(({ message, fields }) => [message, fields["reason"]]),
        [["a dialer was turned away", `it belongs to the user ${NOBODY}, this process to 0`]],
      );
      assert.deepEqual(bridge.connections, []);
    });
  });

  test("of another user cannot even connect", { skip: unlessRoot }, async () => {
    await withBridge({}, async ({ path, directory }) => {
      assert.deepEqual(await dialAsNobody(path, Buffer.alloc(0)), { answer: "", error: "EACCES" });
      chmodSync(directory, 0o755);
      assert.deepEqual(await dialAsNobody(path, Buffer.alloc(0)), { answer: "", error: "EACCES" });
    });
  });

  test("gets through a flood of others that say nothing: those that have been silent for longest are closed", async () => {
    await withBridge({}, async ({ bridge, path }) => {
      const silent: Socket[] = [];
      let closed = 0;
      for (let count = 0; count < MAX_GREETING + 50; count++) {
        const socket = await connected(path);
        socket.on("error", () => undefined);
        socket.once("close", () => { closed++; });
        socket.resume();
        silent.push(socket);
      }
      await dial(path, { transport: "shm", expose: { f: () => 1 } });
      assert.equal(await bridge.call("f"), 1);
      // The one that came through had its turn among them.
      while (closed < 51) await turn();
      assert.ok(silent.slice(0, 51).every((socket) => socket.destroyed));
      assert.equal(silent.at(-1)?.destroyed, false);
      for (const socket of silent) socket.destroy();
    });
  });

  test("that says nothing keeps nothing open when the bridge closes", async () => {
    await withBridge({}, async ({ bridge, path }) => {
      const silent = await connected(path);
      const closed = readAll(silent);
      await bridge.close();
      assert.equal((await closed).length, 0);
    });
  });
});

suite("without the native addon", () => {
  /** The library as it is where nothing has been compiled. */
  async function withoutAddon(body: (library: typeof import("../src/bridge"), directory: string) => Promise<void>): Promise<void> {
    await withDirectory(async (directory) => {
      cpSync(join(__dirname, "..", "src"), join(directory, "dist"), { recursive: true });
      // As in the package, where what builds it lies beside it.
      cpSync(join(packageRoot, "build.mjs"), join(directory, "build.mjs"));
      await body(createRequire(__filename)(join(directory, "dist", "bridge.js")) as typeof import("../src/bridge"), directory);
    });
  }

  test("auto takes the socket transport, says so, and refuses shm", async () => {
    await withoutAddon(async (library, directory) => {
      const log = new MemoryLog();
      const path = join(directory, "node.sock");
      const bridge = await library.listen({ path, log });
      try {
        const line = log.lines.find(({ level }) => level === "warn");
        assert.match(line?.message ?? "", /only the socket transport/);
        assert.match(String(line?.fields["reason"]), /run "node build\.mjs" in /);
        await assert.rejects(dial(path, { transport: "shm" }), (error) => error instanceof Refused && error.refusal.code === "PeerUnavailable");
        await dial(path, { transport: "socket", expose: { f: () => 1 } });
        assert.equal(await bridge.call("f"), 1);
      } finally {
        await bridge.close();
      }
    });
  });

  test("shm says how to build it", async () => {
    await withoutAddon(async (library, directory) => {
      await assert.rejects(library.listen({ path: join(directory, "node.sock"), transport: "shm" }), /there is no native addon for linux-.*run "node build\.mjs" in /);
    });
  });
});

suite("closing", () => {
  test("a peer that reads nothing does not keep the bridge from closing", async () => {
    await withBridge({}, async ({ bridge, path }) => {
      const peer = await dial(path, { transport: "socket" });
      peer.socket.pause();
      bridge.notify("f", [new Uint8Array(10_000_000)]);
      await bridge.close();
      peer.socket.destroy();
    });
  });
});

suite("segments left behind", () => {
  test("an old one of ours is removed, a young one and any other file are not", async () => {
    const hourAgo = Date.now() / 1000 - 3600;
    // Whoever listens or dials meanwhile, in another test, removes old ones too, and may be quicker.
    const told: string[] = [];
    for (let attempt = 0; attempt < 1000 && told.length === 0; attempt++) {
      const old = segmentName();
      const young = segmentName();
      const other = `/shm-polyglot-test-${process.pid}`;
      try {
        for (const name of [old, young, other]) writeFileSync(`/dev/shm${name}`, "x", { mode: 0o600 });
        for (const name of [old, other]) utimesSync(`/dev/shm${name}`, hourAgo, hourAgo);
        await withBridge({}, async ({ log }) => {
          assert.deepEqual([old, young, other].map((name) => existsSync(`/dev/shm${name}`)), [false, true, true]);
          told.push(...log.lines.map(({ fields }) => String(fields["segment"])).filter((segment) => segment === old.slice(1)));
          await Promise.resolve();
        });
      } finally {
        for (const name of [old, young, other]) rmSync(`/dev/shm${name}`, { force: true });
      }
    }
    assert.equal(told.length, 1);
  });
});
