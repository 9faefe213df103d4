/**
 * What is called, in TypeScript: the showcase's own functions, each with one argument (workload.py has those of Python).
 * Bundled for the JavaScript engines that run inside Python, so nothing here is Node's.
 */

import {
  formatNumber,
  type Formatted,
  type NumberOptions,
  segment as segmentText,
  type SegmentOptions,
} from "../node_side/typescript_utils";

/** Give back the argument: the call itself is what is measured. */
export function echo<T>(value: T): T {
  return value;
}

const POSITIVE = new Set(["good", "great", "excellent", "amazing", "wonderful", "fantastic", "love", "best"]);
const NEGATIVE = new Set(["bad", "terrible", "awful", "worst", "hate", "horrible", "poor"]);

export interface Prediction {
  sentiment: "positive" | "negative" | "neutral";
  confidence: number;
  positive_words: number;
  negative_words: number;
}

/** The model of python_side/ml_service.py, for the calls that go the other way. */
export function predict(text: string): Prediction {
  let positive = 0;
  let negative = 0;
  for (const word of new Set(text.toLowerCase().split(/\s+/))) {
    if (POSITIVE.has(word)) positive++;
    else if (NEGATIVE.has(word)) negative++;
  }
  const sentiment = positive > negative ? "positive" : negative > positive ? "negative" : "neutral";
  const words = sentiment === "neutral" ? 0 : Math.max(positive, negative);
  const confidence = Math.round(Math.min(0.99, 0.5 + words * 0.15) * 100) / 100;
  return { sentiment, confidence, positive_words: positive, negative_words: negative };
}

/** The sentiment of each text, in order. */
export function batch(texts: string[]): Prediction[] {
  return texts.map((text) => predict(text));
}

/** A number as Intl writes it. */
export function format({ value, ...options }: { value: number } & NumberOptions): Formatted {
  return formatNumber(value, options);
}

/** A text cut by Intl.Segmenter. */
export function segment({ text, ...options }: { text: string } & SegmentOptions): string[] {
  return segmentText(text, options);
}

export const FUNCTIONS = { echo, predict, batch, format, segment } as const;

export type FunctionName = keyof typeof FUNCTIONS;

const BY_NAME = new Map<string, (argument: unknown) => unknown>(
  Object.entries(FUNCTIONS as unknown as Record<string, (argument: unknown) => unknown>),
);

/** The function of that name, for a callee: what has come over the wire is not typed. */
export function functionNamed(name: string): (argument: unknown) => unknown {
  const found = BY_NAME.get(name);
  if (found === undefined) throw new Error(`no function ${name}; there are ${Object.keys(FUNCTIONS).join(", ")}`);
  return found;
}
