import { listen, NdArray } from "@shm-polyglot/protocol";

const bridge = await listen();
await new Promise((resolve) => bridge.once("connect", resolve));

const samples = Float32Array.from({ length: 5 }, (_, index) => index % 2);
console.log(await bridge.call("smooth", [samples, 2]));

// The numbers in C order, and the size of each dimension.
const left = new NdArray(new Float64Array([1, 2, 3, 4, 5, 6]), [2, 3]);
const right = new NdArray(new Float64Array([1, 0, 0, 1, 1, 1]), [3, 2]);
const { data, shape } = await bridge.call<NdArray>("product", [left, right]);
console.log(shape, data);

// What does not fit is Python's error, as everywhere.
await bridge.call("product", [left, left]).catch((error: unknown) => { console.log(String(error)); });

await bridge.close();
