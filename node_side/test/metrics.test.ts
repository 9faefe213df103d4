import assert from "node:assert/strict";
import { test } from "node:test";

import { Durations, Metrics } from "../metrics";

test("durations without entries are zero", () => {
  const durations = new Durations();
  assert.deepEqual(durations.percentiles(1), { p50: 0, p95: 0, p99: 0 });
  assert.equal(durations.mean(1), 0);
});

test("percentiles are exact to three digits from nanoseconds to an hour", () => {
  for (const unit of [1, 1e3, 1e9]) {
    const durations = new Durations();
    for (let value = 1; value <= 1000; value += 1) {
      durations.record(value * unit);
    }
    const { p50, p95, p99 } = durations.percentiles(unit);
    for (const [actual, expected] of [[p50, 500], [p95, 950], [p99, 990], [durations.mean(unit), 500.5]] as const) {
      assert.ok(Math.abs(actual - expected) <= expected / 500, `${actual} for ${expected} at ${unit} ns`);
    }
  }
});

test("a duration below or beyond the range is kept at its end", () => {
  const durations = new Durations();
  durations.record(0);
  durations.record(1e18);
  assert.equal(durations.count, 2);
});

test("metrics tell requests by language from calls", () => {
  const metrics = new Metrics();
  metrics.recordRequest("python", 2);
  metrics.recordRequest("python", 2);
  metrics.recordRequest("typescript", 1);
  metrics.recordCall(0.004);
  const { averageLatency, cross_language_overhead_ms, uptime, latency_percentiles, ...counts } = metrics.snapshot();
  assert.deepEqual(counts, { totalRequests: 3, pythonRequests: 2, typescriptRequests: 1, crossLanguageCalls: 1 });
  assert.ok(Math.abs(averageLatency - 5 / 3) < 0.01);
  assert.ok(Math.abs(cross_language_overhead_ms - 0.004) < 0.0001);
  assert.ok(Math.abs(latency_percentiles.p50 - 2) < 0.01);
  assert.ok(uptime > 0);
});
