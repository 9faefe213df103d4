import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";

import { ownUid, readPoolBytes, readSettings } from "../src/config";
import { formatLine } from "../src/log";
import { LIBRARY_VERSION, version } from "../src/package_info";
import { packageRoot } from "./package_root";

interface Case {
  variable: string;
  value: string;
  error?: string;
}

/** The same table is read by Python's tests: both languages have the same opinion, in the same words. */
const cases = JSON.parse(readFileSync(join(packageRoot, "..", "vectors", "settings.json"), "utf8")) as Case[];

suite("settings", () => {
  test("defaults", () => {
    assert.deepEqual(readSettings({}), {
      path: `/tmp/shm-polyglot-${ownUid()}/node.sock`,
      transport: "auto",
      spinUs: -1,
      maxMessage: 64 * 1024 * 1024,
      bufferBytes: 512 * 1024,
    });
    assert.equal(readPoolBytes({}), 256 * 1024 * 1024);
  });

  test("all of them from the environment", () => {
    const environment = {
      SHM_POLYGLOT_DIR: "/x",
      SHM_POLYGLOT_TRANSPORT: "socket",
      SHM_POLYGLOT_SPIN_US: "0",
      SHM_POLYGLOT_RING_BYTES: "8192",
      SHM_POLYGLOT_MAX_MESSAGE: "5000",
      SHM_POLYGLOT_BUFFER_BYTES: "0",
      SHM_POLYGLOT_POOL_BYTES: "7",
    };
    const expected = { path: "/x/node.sock", transport: "socket", spinUs: 0, maxMessage: 5000, bufferBytes: 0 };
    assert.deepEqual(readSettings(environment), expected);
    assert.equal(readPoolBytes(environment), 7);
  });

  test("a path that is given wins over the directory of the environment", () => {
    assert.equal(readSettings({ SHM_POLYGLOT_DIR: "/x" }, "/y/a.sock").path, "/y/a.sock");
  });

  test("XDG_RUNTIME_DIR holds the directory where it exists and is absolute", () => {
    const own = `/tmp/shm-polyglot-${ownUid()}/node.sock`;
    assert.equal(readSettings({ XDG_RUNTIME_DIR: "/tmp" }).path, "/tmp/shm-polyglot/node.sock");
    assert.equal(readSettings({ XDG_RUNTIME_DIR: "/nowhere/at/all" }).path, own);
    assert.equal(readSettings({ XDG_RUNTIME_DIR: "." }).path, own);
  });

  test("each value of the table is taken, or refused with the sentence that Python gives", () => {
    assert.ok(cases.length > 100);
    for (const { variable, value, error } of cases) {
      const environment = { [variable]: value };
      if (error === undefined) readSettings(environment);
      else assert.throws(() => readSettings(environment), new RangeError(error));
    }
  });

  test("an empty variable is as if it were not there", () => {
    const empty = Object.fromEntries([...new Set(cases.map(({ variable }) => variable))].map((variable) => [variable, ""]));
    assert.deepEqual(readSettings(empty), readSettings({}));
  });
});

suite("the package", () => {
  test("the version in the source is package.json's", () => {
    const manifest = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string };
    assert.equal(LIBRARY_VERSION, manifest.version);
    assert.equal(version, manifest.version);
  });
});

suite("log lines", () => {
  test("an event is one line, whatever a peer calls itself", () => {
    assert.equal(formatLine("info", "connected", { peer: "a b\nc", role: "worker", id: 5 }), 'info shm_protocol: connected peer="a b\\nc" role=worker id=5');
    assert.ok(!formatLine("error", "a\nb").includes("\n"));
  });
});
