import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";

import { Listener } from "../src/listener";
import { connected, withDirectory } from "./dialer";
import { MemoryLog } from "./pair";

/** A socket that a killed process has left at `path`. */
async function leaveStale(path: string): Promise<void> {
  const killed = createServer();
  killed.listen(`${path}.moved`);
  await once(killed, "listening");
  renameSync(`${path}.moved`, path);
  killed.close();
}

async function strangerAt(path: string): Promise<Server> {
  const server = createServer((socket) => { socket.destroy(); });
  server.listen(path);
  await once(server, "listening");
  return server;
}

function open(path: string, log = new MemoryLog()): Promise<Listener> {
  return Listener.open(path, log, (socket) => { socket.destroy(); }, () => Promise.resolve("another"));
}

/** How each of them has ended: `"listens"`, or the error's code. */
async function outcomes(listeners: Promise<Listener>[]): Promise<{ said: string[]; winners: Listener[] }> {
  const settled = await Promise.allSettled(listeners);
  return {
    said: settled.map((one) => (one.status === "fulfilled" ? "listens" : String((one.reason as NodeJS.ErrnoException).code))).sort(),
    winners: settled.flatMap((one) => (one.status === "fulfilled" ? [one.value] : [])),
  };
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await turn();
}

suite("of several that begin to listen at once", () => {
  for (const [what, prepare] of [
    ["over a stale socket", leaveStale],
    ["where there is none", () => Promise.resolve()],
  ] as const) {
    test(`${what} one listens, the others get EADDRINUSE, and nothing else is left`, async () => {
      for (let round = 0; round < 40; round++) {
        await withDirectory(async (directory) => {
          const path = join(directory, "node.sock");
          await prepare(path);
          const { said, winners } = await outcomes([open(path), open(path), open(path)]);
          assert.deepEqual(said, ["EADDRINUSE", "EADDRINUSE", "listens"]);
          assert.deepEqual(readdirSync(directory), ["node.sock"]);
          (await connected(path)).destroy();
          await winners[0]?.close();
          assert.deepEqual(readdirSync(directory), []);
        });
      }
    });
  }

  test("while one stops listening, at most one of them listens, and the socket stays its own", async () => {
    for (let round = 0; round < 40; round++) {
      await withDirectory(async (directory) => {
        const path = join(directory, "node.sock");
        const first = await open(path);
        const starting = [open(path), open(path)];
        if (round % 2 === 0) await turn();
        const ended = first.close();
        const { said, winners } = await outcomes(starting);
        await ended;
        assert.ok(said.filter((one) => one === "listens").length <= 1, said.join());
        assert.deepEqual(readdirSync(directory), winners.length === 1 ? ["node.sock"] : []);
        if (winners.length === 1) (await connected(path)).destroy();
        await winners[0]?.close();
      });
    }
  });

  test("processes are no different", async () => {
    const program = `
      const { Listener } = require(process.argv[1]);
      const log = { info() {}, warn() {}, error() {} };
      while (Date.now() < Number(process.argv[3]));
      Listener.open(process.argv[2], log, (socket) => socket.destroy(), () => Promise.resolve("another")).then(
        () => { console.log("listens"); process.stdin.resume(); },
        (error) => { console.log(error.code); process.exit(); },
      );`;
    for (let round = 0; round < 4; round++) {
      await withDirectory(async (directory) => {
        const path = join(directory, "node.sock");
        await leaveStale(path);
        const at = String(Date.now() + 500);
        const children = [0, 1, 2].map(() =>
          spawn(process.execPath, ["-e", program, join(__dirname, "..", "src", "listener.js"), path, at], { stdio: ["pipe", "pipe", "inherit"] }),
        );
        const said = await Promise.all(children.map(async (child) => String((await once(child.stdout, "data"))[0]).trim()));
        for (const child of children) child.kill("SIGKILL");
        for (const child of children) if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
        assert.deepEqual(said.sort(), ["EADDRINUSE", "EADDRINUSE", "listens"]);
      });
    }
  });
});

suite("what lies beside the socket", () => {
  test("claims of killed processes are removed, other files are not", async () => {
    await withDirectory(async (directory) => {
      const path = join(directory, "node.sock");
      const others = ["node.sock.bak", `x.sock.${"a".repeat(16)}`];
      await leaveStale(join(directory, `node.sock.${"0".repeat(16)}`));
      await leaveStale(join(directory, `node.sock.${"f".repeat(16)}`));
      for (const other of others) await leaveStale(join(directory, other));
      mkdirSync(join(directory, `node.sock.${"1".repeat(16)}`));
      const listener = await open(path);
      assert.deepEqual(readdirSync(directory).sort(), ["node.sock", `node.sock.${"1".repeat(16)}`, ...others].sort());
      await listener.close();
    });
  });

  test("a symbolic link at the path is not followed", async () => {
    await withDirectory(async (directory) => {
      symlinkSync("/nowhere", join(directory, "node.sock"));
      await assert.rejects(open(join(directory, "node.sock")), /EADDRINUSE.*not a socket; remove it/);
      assert.deepEqual(readdirSync(directory), ["node.sock"]);
    });
  });
});

suite("a path", () => {
  test("of 107 bytes is taken, though a claim's has more", async () => {
    await withDirectory(async (directory) => {
      for (const name of ["s", "é".repeat(3)]) {
        const folder = join(directory, "d".repeat(107 - Buffer.byteLength(directory) - Buffer.byteLength(name) - 2));
        const path = join(folder, name);
        assert.equal(Buffer.byteLength(path), 107);
        const listener = await open(path);
        (await connected(path)).destroy();
        await assert.rejects(open(path), { code: "EADDRINUSE" });
        assert.deepEqual(readdirSync(folder), [name]);
        await listener.close();
        assert.deepEqual(readdirSync(folder), []);
      }
    });
  });

  test("of 108 bytes is refused with both numbers and what to set", async () => {
    const path = `/${"é".repeat(40)}${"d".repeat(17)}/node.sock`;
    assert.equal(Buffer.byteLength(path), 108);
    await assert.rejects(open(path), /has 108 bytes and must have at most 107: .*set SHM_POLYGLOT_DIR/);
  });
});

suite("a directory that cannot be is refused with what to set:", () => {
  test("a file, one within a file, and one where the system makes none", async () => {
    await withDirectory(async (directory) => {
      const file = join(directory, "file");
      writeFileSync(file, "");
      await assert.rejects(open(join(file, "node.sock")), { message: `${file} is not a directory; set SHM_POLYGLOT_DIR to another` });
      const within = join(file, "within");
      await assert.rejects(open(join(within, "node.sock")), {
        message: `${within} cannot be made: ENOTDIR: not a directory, mkdir '${within}'; set SHM_POLYGLOT_DIR to another`,
      });
      await assert.rejects(open("/proc/shm-polyglot/node.sock"), /^Error: \/proc\/shm-polyglot cannot be made: ENOENT: .*; set SHM_POLYGLOT_DIR/);
    });
  });
});

suite("while it listens", () => {
  test("a socket that is removed is told, and made again", async () => {
    await withDirectory(async (directory) => {
      const path = join(directory, "node.sock");
      const log = new MemoryLog();
      const listener = await open(path, log);
      unlinkSync(path);
      await until(() => log.lines.some(({ message }) => message === "listening again"));
      assert.match(log.lines[0]?.message ?? "", /^the socket has been removed/);
      assert.deepEqual(log.lines.map(({ level }) => level), ["error", "warn"]);
      (await connected(path)).destroy();
      assert.equal(lstatSync(path).mode & 0o777, 0o600);
      await listener.close();
      assert.deepEqual(readdirSync(directory), []);
    });
  });

  test("so is one whose directory is removed, and one whose directory's parent is removed stays away", async () => {
    await withDirectory(async (directory) => {
      const path = join(directory, "a", "b", "node.sock");
      const log = new MemoryLog();
      const listener = await open(path, log);
      rmSync(join(directory, "a", "b"), { recursive: true });
      await until(() => log.lines.some(({ message }) => message === "listening again"));
      (await connected(path)).destroy();
      rmSync(join(directory, "a"), { recursive: true });
      await until(() => log.lines.some(({ message }) => message.includes("cannot be made again")));
      assert.equal(existsSync(join(directory, "a")), false);
      await listener.close();
    });
  });

  test("a socket that another process has replaced is told once, left to it, and taken back when it is gone", async () => {
    await withDirectory(async (directory) => {
      const path = join(directory, "node.sock");
      const log = new MemoryLog();
      const listener = await open(path, log);
      unlinkSync(path);
      const stranger = await strangerAt(path);
      await until(() => log.lines.length > 0);
      assert.match(log.lines[0]?.message ?? "", /something else has replaced the socket/);
      const { ino } = lstatSync(path);
      await assert.rejects(open(path), { code: "EADDRINUSE" });
      assert.equal(lstatSync(path).ino, ino);
      stranger.close();
      await until(() => log.lines.some(({ message }) => message === "listening again"));
      assert.equal(log.lines.filter(({ message }) => message.includes("replaced")).length, 1);
      await listener.close();
    });
  });

  test("what is required then is found behind its symbolic links, as in workspaces", () => withDirectory(async (directory) => {
    // Beside this file: of folders that it knows already Node looks no further, which is where it goes wrong.
    const folder = mkdtempSync(join(__dirname, "workspace-"));
    try {
      mkdirSync(join(folder, "one"));
      mkdirSync(join(folder, "node_modules"));
      writeFileSync(join(folder, "one", "package.json"), '{ "exports": "./index.js" }');
      writeFileSync(join(folder, "one", "index.js"), "");
      symlinkSync(join(folder, "one"), join(folder, "node_modules", "one"));
      const listener = await open(join(directory, "node.sock"));
      assert.equal(createRequire(join(folder, "main.js")).resolve("one"), join(folder, "one", "index.js"));
      await listener.close();
    } finally {
      rmSync(folder, { recursive: true });
    }
  }));

  test("what replaced its socket is not removed with it", async () => {
    await withDirectory(async (directory) => {
      const path = join(directory, "node.sock");
      const listener = await open(path);
      unlinkSync(path);
      const stranger = await strangerAt(path);
      await listener.close();
      assert.ok(existsSync(path));
      stranger.close();
    });
  });
});
