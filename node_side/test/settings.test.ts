import assert from "node:assert/strict";
import { test } from "node:test";

import { loadSettings, SettingError } from "../settings";

test("every setting has a default", () => {
  assert.deepEqual(loadSettings({}), { host: "127.0.0.1", port: 3000, callTimeoutMs: 5000, requestTimeoutMs: 10000 });
});

test("the environment is taken", () => {
  const environment = {
    SHM_POLYGLOT_NODE_HOST: "0.0.0.0",
    SHM_POLYGLOT_NODE_PORT: "8080",
    SHM_POLYGLOT_CALL_TIMEOUT: ".25",
    SHM_POLYGLOT_REQUEST_TIMEOUT: "2",
  };
  assert.deepEqual(loadSettings(environment), { host: "0.0.0.0", port: 8080, callTimeoutMs: 250, requestTimeoutMs: 2000 });
});

test("a bad value is named with its range", () => {
  for (const [name, value, range] of [
    ["SHM_POLYGLOT_NODE_PORT", "65536", "from 1 to 65535"],
    ["SHM_POLYGLOT_NODE_PORT", "1e3", "from 1 to 65535"],
    ["SHM_POLYGLOT_NODE_PORT", "", "from 1 to 65535"],
    ["SHM_POLYGLOT_CALL_TIMEOUT", "0", "from 0.001 to 3600"],
    ["SHM_POLYGLOT_CALL_TIMEOUT", "soon", "from 0.001 to 3600"],
  ] as const) {
    assert.throws(
      () => loadSettings({ [name]: value }),
      (error) => error instanceof SettingError && error.message === `${name}="${value}": must be a number ${range}`,
    );
  }
});
