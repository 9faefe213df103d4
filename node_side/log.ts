/** One line for each entry, to stderr: time, level, message and fields. A stack is part of the line. */

/** What an entry is about, e.g. `{ url: "http://127.0.0.1:3000" }`. */
export type Fields = Readonly<Record<string, string | number | Error>>;

function write(level: string, message: string, fields: Fields = {}): void {
  const pairs = Object.entries(fields).map(([name, value]) => ` ${name}=${text(value)}`);
  process.stderr.write(`${new Date().toISOString()} ${level} [node] ${oneLine(message)}${pairs.join("")}\n`);
}

function text(value: string | number | Error): string {
  return oneLine(value instanceof Error ? (value.stack ?? value.message) : String(value));
}

function oneLine(value: string): string {
  return value.replaceAll("\r", "\\r").replaceAll("\n", "\\n");
}

/** Levels have Python's names, so that both sides' logs can be searched together. */
export const log = {
  info(message: string, fields?: Fields): void {
    write("INFO", message, fields);
  },
  warn(message: string, fields?: Fields): void {
    write("WARNING", message, fields);
  },
  error(message: string, fields?: Fields): void {
    write("ERROR", message, fields);
  },
};
