import { type Bridge, listen } from "@shm-polyglot/protocol";

const text = {
  /** A stream: an async generator, a generator, or one of Node's own. */
  *words(sentence: string): Generator<string> {
    yield* sentence.split(" ");
  },
  *countForEver(): Generator<number> {
    try {
      for (let number = 1; ; number++) yield number;
    } finally {
      console.log("nobody counts any more");
    }
  },
  /** Reads a stream of its caller's. */
  async longest(): Promise<string> {
    let longest = "";
    for await (const line of bridge.stream("source.lines")) {
      if (typeof line === "string" && line.length > longest.length) longest = line;
    }
    return longest;
  },
};

const bridge: Bridge = await listen({ expose: { text } });
