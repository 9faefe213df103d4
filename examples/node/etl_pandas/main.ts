import { resolve } from "node:path";

import { listen } from "@shm-polyglot/protocol";

/** What the job tells while it runs. */
type Progress =
  | { step: "read"; rows: number; dropped: number }
  | { step: "written"; file: string; totals: Record<string, number> };

const bridge = await listen();
await new Promise((attached) => bridge.once("connect", attached));

// Ctrl-C here, or leaving the loop early, ends the job in Python too.
for await (const event of bridge.stream("etl.run", [resolve("sales.csv"), resolve("totals.csv")])) {
  const progress = event as Progress;
  if (progress.step === "read") console.log(`${progress.rows} rows, ${progress.dropped} of the last ones dropped`);
  else console.log("written to", progress.file, progress.totals);
}

await bridge.close();
