import { listen } from "@shm-polyglot/protocol";

const greetings = {
  greet: (name: string): string => `Hello, ${name}! This is Node ${process.versions.node}.`,
};

await listen({ expose: { greetings } });
