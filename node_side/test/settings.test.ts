import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
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

interface Case {
  variable: string;
  value: string;
  error?: string;
}

test("each value of the table is taken, or refused with the sentence that Python gives", () => {
  const cases = JSON.parse(readFileSync(join(__dirname, "..", "..", "tests", "showcase_settings.json"), "utf8")) as Case[];
  const own = new Set(["SHM_POLYGLOT_NODE_PORT", "SHM_POLYGLOT_CALL_TIMEOUT", "SHM_POLYGLOT_REQUEST_TIMEOUT"]);
  assert.ok(cases.filter(({ variable }) => own.has(variable)).length > 60);
  for (const { variable, value, error } of cases) {
    if (!own.has(variable) || error === undefined) loadSettings({ [variable]: value });
    else assert.throws(() => loadSettings({ [variable]: value }), (thrown) => thrown instanceof SettingError && thrown.message === error);
  }
});
