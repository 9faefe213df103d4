/** Lines out of what arrives in pieces. */

import type { Readable } from "node:stream";

/** Call `onLine` for each whole line that arrives. */
export function receiveLines(stream: Readable, onLine: (line: string) => void): void {
  // A long line comes in many pieces: they are put together once, when all are there.
  let pieces: string[] = [];
  stream.setEncoding("utf8");
  stream.on("data", (text: string) => {
    let start = 0;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", start)) {
      pieces.push(text.slice(start, end));
      start = end + 1;
      const line = pieces.join("");
      pieces = [];
      onLine(line);
    }
    if (start < text.length) pieces.push(text.slice(start));
  });
}
