import { build, type Histogram } from "hdr-histogram-js";

/** What answered a request: TypeScript alone, or Python on its behalf. */
export type Language = "python" | "typescript";

export interface Percentiles {
  p50: number;
  p95: number;
  p99: number;
}

/** What the server has done, by the names that /api/stats has for it. Durations are in ms, `uptime` is in seconds. */
export interface Snapshot {
  totalRequests: number;
  pythonRequests: number;
  typescriptRequests: number;
  crossLanguageCalls: number;
  averageLatency: number;
  uptime: number;
  latency_percentiles: Percentiles;
  cross_language_overhead_ms: number;
}

const NANOSECONDS_PER_MS = 1e6;
const LONGEST_NS = 3600e9;

/** A histogram of durations: from 1 ns to an hour, to three digits. */
export class Durations {
  private readonly histogram: Histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: LONGEST_NS,
    numberOfSignificantValueDigits: 3,
    bitBucketSize: 64,
  });

  /** Adds a duration in nanoseconds. */
  record(nanoseconds: number): void {
    this.histogram.recordValue(Math.min(Math.max(1, Math.round(nanoseconds)), LONGEST_NS));
  }

  get count(): number {
    return this.histogram.totalCount;
  }

  /** The mean in units of `unitNs` nanoseconds; 0 if there are none. */
  mean(unitNs: number): number {
    return this.count === 0 ? 0 : this.histogram.mean / unitNs;
  }

  /** The percentiles in units of `unitNs` nanoseconds; 0 if there are none. */
  percentiles(unitNs: number): Percentiles {
    const at = (percentile: number): number =>
      this.count === 0 ? 0 : this.histogram.getValueAtPercentile(percentile) / unitNs;
    return { p50: at(50), p95: at(95), p99: at(99) };
  }
}

/** What the server has done since it started. */
export class Metrics {
  private readonly startedAt = performance.now();
  private readonly requests = new Durations();
  private readonly calls = new Durations();
  private readonly answered: Record<Language, number> = { python: 0, typescript: 0 };

  /** Counts an answered request. `durationMs` is from its head to the end of the answer. */
  recordRequest(language: Language, durationMs: number): void {
    this.answered[language] += 1;
    this.requests.record(durationMs * NANOSECONDS_PER_MS);
  }

  /** Counts a call to Python that was answered. `durationMs` is from the call to its result. */
  recordCall(durationMs: number): void {
    this.calls.record(durationMs * NANOSECONDS_PER_MS);
  }

  snapshot(): Snapshot {
    return {
      totalRequests: this.answered.python + this.answered.typescript,
      pythonRequests: this.answered.python,
      typescriptRequests: this.answered.typescript,
      crossLanguageCalls: this.calls.count,
      averageLatency: this.requests.mean(NANOSECONDS_PER_MS),
      uptime: (performance.now() - this.startedAt) / 1000,
      latency_percentiles: this.requests.percentiles(NANOSECONDS_PER_MS),
      cross_language_overhead_ms: this.calls.percentiles(NANOSECONDS_PER_MS).p50,
    };
  }
}
