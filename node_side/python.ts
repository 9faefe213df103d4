import type { Bridge, CallOptions, ConnectionInfo } from "@shm-polyglot/protocol";

import type { Metrics } from "./metrics";

/** What Python's ml_service.predict gives. */
export interface Prediction {
  sentiment: "positive" | "negative" | "neutral";
  confidence: number;
  positive_words: number;
  negative_words: number;
}

/** The name of the model behind Python's ml_service. */
export const MODEL = "sentiment-v1";

/** Python's functions as TypeScript's; each call goes to the least busy worker, is timed and has a deadline. */
export class Python {
  constructor(
    private readonly bridge: Bridge,
    private readonly metrics: Metrics,
    private readonly timeoutMs: number,
  ) {}

  /** The worker that predicts and has least to do; undefined if none is attached. */
  leastBusyWorker(): ConnectionInfo | undefined {
    return this.bridge.leastBusyWorker("ml_service.predict");
  }

  predict(text: string): Promise<Prediction> {
    return this.call<Prediction>("ml_service.predict", [text], { idempotent: true });
  }

  predictBatch(texts: readonly string[]): Promise<Prediction[]> {
    return this.call<Prediction[]>("ml_service.predict_batch", [texts], { idempotent: true });
  }

  /** Calls an exposed Python function. Rejects with BridgeError. */
  async call<T>(method: string, args: readonly unknown[], options: CallOptions = {}): Promise<T> {
    const start = performance.now();
    const result = await this.bridge.call<T>(method, args, { timeoutMs: this.timeoutMs, ...options });
    this.metrics.recordCall(performance.now() - start);
    return result;
  }
}
