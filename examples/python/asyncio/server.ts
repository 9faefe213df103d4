import { listen } from "@shm-polyglot/protocol";

let waiting: (() => void)[] = [];

const meeting = {
  /** Answers once so many have called. */
  attend(name: string, size: number): Promise<string> {
    return new Promise((resolve) => {
      waiting.push(() => { resolve(`${name} was there`); });
      if (waiting.length < size) return;
      for (const answer of waiting) answer();
      waiting = [];
    });
  },
  never: (): Promise<never> => new Promise(() => undefined),
};

await listen({ expose: { meeting } });
