import { listen } from "@shm-polyglot/protocol";

const letters = {
  /** What Python's standard library does not have: a date as it is written in each language. */
  reminder(name: string, due: Date, language: string): string {
    return `${name}: ${due.toLocaleDateString(language, { dateStyle: "full", timeZone: "UTC" })}`;
  },
};

await listen({ expose: { letters } });
