/** Arrays in shared memory: those that are made there, and those that a peer has handed over. */

import { constants } from "node:os";
import { types } from "node:util";

import { errnoName } from "./binding";
import { type Loan, ownPool } from "./pool";
import type { Disposing } from "./references";
import { ofMemory } from "./transports/shortages";
import { elementsOf, faultOfShape, isNumberArray, NdArray, type NumberArray } from "./value_types";

/** What an array of numbers is made with: `Float64Array`, `Uint8Array`, … */
export interface ArrayType<T extends NumberArray | Uint8Array> {
  /** What an element takes. */
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer, byteOffset: number, length: number): T;
}

/** What lies in memory that can be lent as it is. */
const loans = new WeakMap<ArrayBufferLike, Loan>();
/** What to do to let go of a buffer at once, of this process's or of a peer's. */
const disposals = new WeakMap<ArrayBufferLike, () => void>();
/** More bytes than this no number tells exactly, once they are rounded up. */
const MOST_BYTES = 2 ** 52;
const collected = new FinalizationRegistry<Loan>((loan) => { loan.letGo(); });

/**
 * An array of numbers, or of bytes, in shared memory. Handed to a peer over a connection with shared memory it is not copied,
 * nor is a part of it that begins at a multiple of 64 bytes; over any other it is sent as other arrays are. The peer sees what
 * is written to it afterwards, for as long as it holds it, unless it has written there itself. What is in it at first is
 * anything.
 *
 * The memory is used again when neither side holds it any more: after {@link dispose}, `using`, or collection.
 *
 * @param type e.g. `Float64Array`.
 * @param length how many elements.
 * @throws TypeError for a type whose arrays cannot be sent; RangeError for a length that cannot be; Error where there is no addon
 * or no memory.
 */
export function sharedArray<T extends NumberArray | Uint8Array>(type: ArrayType<T>, length: number): T & Disposing;
/**
 * The same with a shape, as Python has arrays of several dimensions.
 *
 * @param shape the size of each dimension, outermost first.
 */
export function sharedArray<T extends NumberArray>(type: ArrayType<T>, shape: readonly number[]): NdArray<T> & Disposing;
export function sharedArray(type: ArrayType<NumberArray>, shape: number | readonly number[]): (NumberArray | NdArray) & Disposing {
  requireType(type, shape);
  const sizes = typeof shape === "number" ? [shape] : [...shape];
  const elements = elementsOf(sizes);
  const fault = faultOfShape(sizes, elements, type.BYTES_PER_ELEMENT);
  if (fault !== undefined) throw new RangeError(fault);
  const bytes = elements * type.BYTES_PER_ELEMENT;
  const pool = ownPool();
  if (pool instanceof Error) throw new Error(`there is no shared memory here: ${pool.message}`);
  const loan = bytes > MOST_BYTES ? -constants.errno.ENOMEM : pool.lend(Math.max(1, bytes));
  if (typeof loan === "number") {
    throw new Error(`${bytes} bytes of shared memory cannot be had: ${ofMemory(loan) ?? errnoName(loan)}`);
  }
  const buffer = pool.binding.memoryBuffer(loan.memory.slot, bytes);
  if (typeof buffer === "number") {
    loan.letGo();
    throw new Error("this runtime has no arrays in shared memory: it forbids external buffers");
  }
  loans.set(buffer, loan);
  collected.register(buffer, loan, loan);
  disposals.set(buffer, () => {
    collected.unregister(loan);
    pool.binding.detach(buffer);
    loan.letGo();
  });
  const array = disposable(new type(buffer, 0, elements));
  return typeof shape === "number" ? array : disposable(new NdArray(array as NumberArray, sizes));
}

/** What lacks types of its own may give anything. */
function requireType(type: ArrayType<NumberArray>, shape: unknown): void {
  if (typeof shape !== "number" && !Array.isArray(shape)) throw new TypeError("shape: must be a length or an array of sizes");
  let made: unknown;
  try {
    made = new type(new ArrayBuffer(0), 0, 0);
  } catch {
    made = undefined;
  }
  if (types.isUint8Array(made) && typeof shape !== "number") {
    throw new TypeError("type: must be another than Uint8Array, which is bytes, where there is a shape");
  }
  if (!types.isUint8Array(made) && !isNumberArray(made)) {
    throw new TypeError("type: must be Uint8Array or that of a typed array of numbers that can be sent, such as Float64Array");
  }
}

/**
 * Let go of an array in shared memory now rather than when it is collected: one of {@link sharedArray}, or one that a peer has
 * handed over. Its length is 0 from then on, as is that of whatever else shares its `buffer`. Does nothing to any other array,
 * and nothing the second time.
 *
 * @throws TypeError for anything but an array.
 */
export function dispose(array: NumberArray | Uint8Array | NdArray): void {
  requireArray(array);
  const { buffer } = array instanceof NdArray ? array.data : array;
  const letGo = disposals.get(buffer);
  if (letGo === undefined) return;
  disposals.delete(buffer);
  loans.delete(buffer);
  letGo();
}

function requireArray(array: unknown): void {
  if (!(array instanceof NdArray) && !ArrayBuffer.isView(array)) throw new TypeError("array: must be a typed array or an NdArray");
}

/** The loan in which a view lies, if it does. @internal */
export function loanOf(view: Uint8Array): Loan | undefined {
  return loans.get(view.buffer);
}

/** A buffer that a peer has handed over: `letGo` returns it. */
export function markBorrowed(buffer: ArrayBuffer, letGo: () => void): void {
  disposals.set(buffer, letGo);
}

/**
 * Give an array what `using` needs: at the end of the block it is let go of as by {@link dispose}.
 *
 * ```ts
 * using samples = disposable(await bridge.call<Float64Array>("signals.samples"));
 * ```
 *
 * @throws TypeError for anything but an array.
 */
export function disposable<T extends NumberArray | Uint8Array | NdArray>(array: T): T & Disposing {
  requireArray(array);
  return Object.defineProperty(array, Symbol.dispose, { value: () => { dispose(array); } }) as T & Disposing;
}
