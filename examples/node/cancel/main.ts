import { CallTimeout, listen } from "@shm-polyglot/protocol";

const bridge = await listen();
await new Promise((resolve) => bridge.once("connect", resolve));

console.log(await bridge.call("crawl", [1]));

await bridge.call("crawl", [1_000_000], { timeoutMs: 100 }).catch((error: unknown) => {
  if (!(error instanceof CallTimeout)) throw error;
  console.log(`CallTimeout: ${error.message}`);
});

// As everywhere in JavaScript: one controller may cancel calls, requests and timers together.
const controller = new AbortController();
const crawl = bridge.call("crawl", [1_000_000], { signal: controller.signal });
controller.abort();
await crawl.catch((error: unknown) => { console.log(String(error)); });

// The worker is free for the next call.
console.log(await bridge.call("crawl", [1]));

await bridge.close();
