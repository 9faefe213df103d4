/** Logging: one line for each event. */

/** What an event is about, e.g. `{ peer: "gunicorn worker 3" }`. */
export type LogFields = Readonly<Record<string, string | number>>;

/** Where the bridge logs. `console`-like loggers of frameworks fit with a thin wrapper. */
export interface Logger {
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** Logs to stderr. */
export const stderrLogger: Logger = {
  info: (message, fields) => { write("info", message, fields); },
  warn: (message, fields) => { write("warning", message, fields); },
  error: (message, fields) => { write("error", message, fields); },
};

function write(level: string, message: string, fields: LogFields | undefined): void {
  process.stderr.write(`${formatLine(level, message, fields)}\n`);
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
