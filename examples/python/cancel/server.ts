import { setTimeout as sleep } from "node:timers/promises";
import { currentCall, listen } from "@shm-polyglot/protocol";

const site = {
  /** Reads pages, one a second, for as long as somebody waits for them. */
  async crawl(pages: number): Promise<number> {
    // Aborted when the caller cancels, is gone, or does not wait any longer.
    const signal = currentCall()?.signal;
    for (let page = 1; page <= pages; page++) {
      if (signal?.aborted === true) {
        console.log("nobody waits for the crawl any more");
        break;
      }
      await sleep(1000);
    }
    return pages;
  },
};

await listen({ expose: { site } });
