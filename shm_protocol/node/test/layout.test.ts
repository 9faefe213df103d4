import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";

import { DEFAULT_MAX_MESSAGE } from "../src/config";
import { COUNTER_NAMES, LATENCY_BUCKETS } from "../src/counters";
import { MAX_CHAIN, MAX_CREDIT, MAX_EXPOSED, MAX_METHOD_BYTES } from "../src/frames";
import { HANDSHAKE_TIMEOUT_MS, PROTOCOL_MAJOR, PROTOCOL_MINOR } from "../src/handshake";
import { MAX_OUTSTANDING } from "../src/session";
import { DOORBELL_BYTE, PEER_BUSY } from "../src/transports/shm";
import { MAX_DEPTH_RECEIVED, MAX_DEPTH_SENT, MAX_VALUES } from "../src/values";
import { packageRoot } from "./package_root";

const layout = readFileSync(join(packageRoot, "..", "core", "layout.h"), "utf8");
const page = readFileSync(join(packageRoot, "..", "PROTOCOL.md"), "utf8");

function defined(name: string): string {
  const match = new RegExp(`^#define ${name} (.*)$`, "m").exec(layout) ?? new RegExp(`\\b${name} = (\\w+)`).exec(layout);
  assert.ok(match?.[1] !== undefined, `${name} is not in layout.h`);
  return match[1];
}

suite("what TypeScript repeats of layout.h", () => {
  test("the versions", () => {
    assert.equal(String(PROTOCOL_MAJOR), defined("SHM_PROTOCOL_MAJOR"));
    assert.equal(String(PROTOCOL_MINOR), defined("SHM_PROTOCOL_MINOR"));
  });
  test("the doorbell and the busy state", () => {
    assert.equal(DOORBELL_BYTE, Number(defined("SHM_DOORBELL_BYTE")));
    assert.equal(PEER_BUSY, Number(defined("SHM_BUSY")));
  });
  test("the largest message", () => {
    assert.equal(defined("SHM_MAX_MESSAGE_DEFAULT"), "(UINT32_C(64) * 1024 * 1024)");
    assert.equal(DEFAULT_MAX_MESSAGE, 64 * 1024 * 1024);
  });
});

suite("what TypeScript repeats of binding.c", () => {
  test("the order of the counters", () => {
    const source = readFileSync(join(packageRoot, "src", "binding.c"), "utf8");
    const order = source.slice(source.indexOf("static void put_counters"), source.indexOf("stats->latency[bucket]"));
    assert.deepEqual(Array.from(order.matchAll(/stats->(\w+)/g), (match) => match[1]), COUNTER_NAMES);
    assert.equal(String(LATENCY_BUCKETS), defined("SHM_LATENCY_BUCKETS"));
  });
});

suite("what TypeScript repeats of PROTOCOL.md", () => {
  const limits = page.slice(page.indexOf("## 11. Limits"));
  const rows: [string, string][] = [
    ["handshake", `${HANDSHAKE_TIMEOUT_MS / 1000} s`],
    ["calls outstanding, one connection and direction", String(MAX_OUTSTANDING)],
    ["nested calls", String(MAX_CHAIN)],
    ["values in a message", MAX_VALUES.toLocaleString("en")],
    ["nesting of a value", `${MAX_DEPTH_SENT} sent, ${MAX_DEPTH_RECEIVED} accepted`],
    ["method name", `${MAX_METHOD_BYTES} bytes`],
    ["functions exposed, one side", MAX_EXPOSED.toLocaleString("en")],
    ["credit outstanding, one stream", `${MAX_CREDIT.toLocaleString("en")} items`],
  ];
  for (const [limit, value] of rows) {
    test(limit, () => { assert.ok(limits.includes(`| ${limit} | ${value} |`)); });
  }
  test("the current version", () => {
    assert.ok(page.includes(`Current: protocol ${PROTOCOL_MAJOR}.${PROTOCOL_MINOR}`));
  });
});
