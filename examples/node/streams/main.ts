import { listen } from "@shm-polyglot/protocol";

const source = {
  /** Read by Python, line by line: neither side ever has all of them. */
  *lines(): Generator<string> {
    for (let number = 1; number <= 100_000; number++) yield `line ${number}`;
  },
};

const bridge = await listen({ expose: { source } });
await new Promise((resolve) => bridge.once("connect", resolve));

for await (const word of bridge.stream("words", ["from Python to TypeScript"])) console.log(word);

// Left early, a stream ends at the other side as well.
for await (const number of bridge.stream("count_for_ever")) {
  console.log(number);
  if (number === 3) break;
}

// The other way round: Python reads a stream of ours while it answers.
console.log(await bridge.call<string>("longest"));

await bridge.close();
