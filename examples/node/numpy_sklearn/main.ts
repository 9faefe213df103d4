import { listen, NdArray } from "@shm-polyglot/protocol";

const bridge = await listen();
await new Promise((resolve) => bridge.once("connect", resolve));

// Two flowers of four measurements each: a 2-D array.
const flowers = new NdArray(Float64Array.of(5.1, 3.5, 1.4, 0.2, 6.7, 3.0, 5.2, 2.3), [2, 4]);
console.log(await bridge.call<string[]>("iris.classify", [flowers]));

const { data, shape } = await bridge.call<NdArray>("iris.probabilities", [flowers]);
const columns = shape[1] ?? 0;
console.log(shape, "the first is a setosa with", Number(data[0]).toFixed(2), "and the second with", Number(data[columns]).toFixed(2));

// A million samples of a wave with 440 periods, as 8 MB, and back as a typed array.
const samples = Float64Array.from({ length: 1_000_000 }, (_, index) => Math.sin((2 * Math.PI * 440 * index) / 1_000_000));
const spectrum = await bridge.call<Float64Array>("signal.spectrum", [samples]);
console.log(spectrum.length, "frequencies; the strongest is", spectrum.indexOf(Math.max(...spectrum.subarray(0, 1000))));

await bridge.close();
