import { listen } from "@shm-polyglot/protocol";

class AgeError extends RangeError {
  override readonly name = "AgeError";
  readonly data = { least: 0, most: 130 };
}

const form = {
  check(person: { age: number }): string {
    if (person.age > 130) throw new AgeError(`${person.age} is no age`);
    return "fine";
  },
  // It answers after a minute.
  report: (): Promise<string> => new Promise((resolve) => setTimeout(resolve, 60_000, "done")),
};

await listen({ expose: { form } });
