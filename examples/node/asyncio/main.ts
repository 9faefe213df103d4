import { listen } from "@shm-polyglot/protocol";

const bridge = await listen();
await new Promise((resolve) => bridge.once("connect", resolve));

// A hundred calls over one connection, all under way at once: none is answered before the last has been made.
const guests = Array.from({ length: 100 }, (_, number) => `guest ${number}`);
const answers = await Promise.all(guests.map((guest) => bridge.call<string>("meeting.attend", [guest, 100])));
console.log(answers.length, "answers:", answers[0], "…", answers.at(-1));

// A call that is aborted is cancelled in Python: its coroutine gets asyncio.CancelledError.
const aborting = new AbortController();
const call = bridge.call("meeting.never", [], { signal: aborting.signal });
aborting.abort();
console.log("aborted:", await call.catch((error: unknown) => (error as Error).name));

await bridge.close();
