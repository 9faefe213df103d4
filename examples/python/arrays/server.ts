import { listen, NdArray } from "@shm-polyglot/protocol";

const image = {
  /** How often each of `bins` ranges of 0 to 1 is met. A NumPy array with one dimension arrives as a typed array. */
  histogram(values: Float64Array, bins: number): Uint32Array {
    const counts = new Uint32Array(bins);
    for (const value of values) {
      const bin = Math.min(bins - 1, Math.floor(value * bins));
      counts[bin] = (counts[bin] ?? 0) + 1;
    }
    return counts;
  },
  /** Colours as shades of grey. With more dimensions an array has its shape beside it: an NdArray. */
  grey(pixels: NdArray<Uint8ClampedArray>): NdArray<Uint8ClampedArray> {
    const { data, shape: [height = 0, width = 0] } = pixels;
    const shades = Uint8ClampedArray.from({ length: height * width }, (_, index) => {
      const [red = 0, green = 0, blue = 0] = data.subarray(3 * index, 3 * index + 3);
      return 0.299 * red + 0.587 * green + 0.114 * blue;
    });
    return new NdArray(shades, [height, width]);
  },
};

await listen({ expose: { image } });
