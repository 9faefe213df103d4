import { listen } from "@shm-polyglot/protocol";

const bridge = await listen();
await new Promise((resolve) => bridge.once("connect", resolve));

const pictures = ["sea.png", "sky.png"];
const report = (picture: string, share: number): void => { console.log(`${picture}: ${share * 100} %`); };
console.log(await bridge.call("resize", [pictures, report]), "pictures");

// What it gives, or the promise of it, is what Python gets.
console.log(await bridge.call("keep", [[1, 2, 3, 4], async (number: number) => Promise.resolve(number % 2 === 0)]));

// An exception goes through Python, and is the error of the call.
const fail = (): never => { throw new RangeError("not this one"); };
await bridge.call("keep", [[1], fail]).catch((error: unknown) => { console.log(String(error)); });

await bridge.call("subscribe", [(news: string) => { console.log("heard:", news); }]);
await bridge.call("publish", ["it is held"]);

await bridge.close();
