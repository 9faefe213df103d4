import assert from "node:assert/strict";
import { suite, test } from "node:test";

import { ownUid, readSettings } from "../src/config";
import { formatLine } from "../src/log";

suite("settings", () => {
  test("defaults", () => {
    assert.deepEqual(readSettings({}), {
      directory: `/tmp/shm-polyglot-${ownUid()}`,
      transport: "auto",
      spinUs: -1,
      maxMessage: 64 * 1024 * 1024,
    });
  });

  test("all of them from the environment; empty means unset", () => {
    const environment = {
      SHM_POLYGLOT_DIR: "/x",
      SHM_POLYGLOT_TRANSPORT: "socket",
      SHM_POLYGLOT_SPIN_US: "0",
      SHM_POLYGLOT_MAX_MESSAGE: "5000",
    };
    assert.deepEqual(readSettings(environment), { directory: "/x", transport: "socket", spinUs: 0, maxMessage: 5000 });
    assert.equal(readSettings({ SHM_POLYGLOT_SPIN_US: "" }).spinUs, -1);
  });

  test("XDG_RUNTIME_DIR holds the directory where it exists", () => {
    assert.equal(readSettings({ XDG_RUNTIME_DIR: "/tmp" }).directory, "/tmp/shm-polyglot");
    assert.equal(readSettings({ XDG_RUNTIME_DIR: "/nowhere/at/all" }).directory, `/tmp/shm-polyglot-${ownUid()}`);
  });

  const bad: [string, string][] = [
    ["SHM_POLYGLOT_TRANSPORT", "tcp"],
    ["SHM_POLYGLOT_SPIN_US", "-1"],
    ["SHM_POLYGLOT_SPIN_US", "1000001"],
    ["SHM_POLYGLOT_SPIN_US", "ten"],
    ["SHM_POLYGLOT_MAX_MESSAGE", "10"],
    ["SHM_POLYGLOT_MAX_MESSAGE", "64MiB"],
  ];
  for (const [name, value] of bad) {
    test(`${name}=${value} is a RangeError that names both`, () => {
      assert.throws(() => readSettings({ [name]: value }), (error) => error instanceof RangeError && error.message.startsWith(`${name}=${value}: `));
    });
  }
});

suite("log lines", () => {
  test("an event is one line, whatever a peer calls itself", () => {
    assert.equal(formatLine("info", "connected", { peer: "a b\nc", role: "worker", id: 5 }), 'info shm_protocol: connected peer="a b\\nc" role=worker id=5');
    assert.ok(!formatLine("error", "a\nb").includes("\n"));
  });
});
