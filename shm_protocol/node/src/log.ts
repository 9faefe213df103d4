/** Logging: one line for each event. */

import { types } from "node:util";

import { hear } from "./heard";
import { describe } from "./thrown";

/** What an event is about, e.g. `{ peer: "gunicorn worker 3" }`. */
export type LogFields = Readonly<Record<string, string | number>>;

/**
 * Where the bridge logs. `console`-like loggers of frameworks fit with a thin wrapper. What it throws, or rejects with, ends
 * nothing: that and the event go to stderr.
 */
export interface Logger {
  /** What is as it should be: somebody has connected or left. */
  info(message: string, fields?: LogFields): void;
  /** What works in a poorer way: only the socket transport, a function that held the event loop. */
  warn(message: string, fields?: LogFields): void;
  /** What has failed: a connection that broke. */
  error(message: string, fields?: LogFields): void;
}

/** Logs to stderr. */
export const stderrLogger: Logger = {
  info: (message, fields) => { write("info", message, fields); },
  warn: (message, fields) => { write("warning", message, fields); },
  error: (message, fields) => { write("error", message, fields); },
};

/** A logger of the user's that ends nothing: where it throws, or rejects, that and the event go to stderr instead. */
export function guardedLogger(log: Logger): Logger {
  if (log === stderrLogger) return log;
  return { info: guarded(log, "info"), warn: guarded(log, "warn"), error: guarded(log, "error") };
}

type Level = keyof Logger;

function guarded(log: Logger, level: Level): Logger[Level] {
  return (message, fields) => {
    const failed = (error: unknown): void => {
      stderrLogger.error("the logger failed", { error: describe(error) });
      stderrLogger[level](message, fields);
    };
    try {
      const outcome = (log as unknown as Record<Level, (...event: [string, LogFields?]) => unknown>)[level](message, fields);
      // It may be async all the same.
      hear(outcome);
      if (types.isPromise(outcome)) void Promise.prototype.then.call(outcome, () => undefined, failed);
    } catch (error) {
      failed(error);
    }
  };
}

function write(level: string, message: string, fields: LogFields | undefined): void {
  try {
    process.stderr.write(`${formatLine(level, message, fields)}\n`);
  } catch {
    // The program has put something else in its place, and there is no other to say so to.
  }
}

/** An event as one line: what a peer said or a stack with its line ends stays on it. */
export function formatLine(level: string, message: string, fields: LogFields = {}): string {
  const pairs = Object.entries(fields).map(([key, value]) => ` ${key}=${typeof value === "number" ? value : quote(value)}`);
  return `${level} shm_protocol: ${escapeControls(message)}${pairs.join("")}`;
}

function quote(text: string): string {
  return /^[\w.:/@+-]+$/.test(text) ? text : JSON.stringify(text);
}

function escapeControls(text: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what this is about
  return text.replace(/[\u0000-\u001f\u007f]/g, (character) => JSON.stringify(character).slice(1, -1));
}
