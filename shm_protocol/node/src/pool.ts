/**
 * Memory that is used again. What is handed over lies in memory of this process's own, and new memory costs several times
 * what copying into old one does: the kernel has to clear it, and both sides to map it page by page. So what nobody looks at
 * any more is kept, as far as SHM_POLYGLOT_POOL_BYTES allows, and lent again.
 */

import { type Binding, loadBinding } from "./binding";
import { readPoolBytes } from "./config";

const PAGE = 4096;
/** Memory that is kept, at most: each takes a descriptor. */
export const MAX_FREE = 64;

/** Memory of this process's: `number` is what peers know it by, `slot` what the addon does. */
export interface Memory {
  readonly number: number;
  readonly slot: number;
  readonly size: number;
}

/** One who knows memory of the pool's by its number. */
export interface Knower {
  /** That memory is not used again: whoever has it mapped is to let go of it. */
  withdraw(number: number): void;
}

/** Memory in use, of which the first `size` bytes count. Whoever makes use of it holds it: so often it has to be let go of. */
export class Loan {
  /** A peer that has gone may still look at the memory, so it is not to be used again. */
  isSpoiled = false;
  private holders = 1;

  constructor(
    readonly memory: Memory,
    readonly size: number,
    private readonly pool: Pool,
  ) {}

  hold(): void {
    this.holders++;
  }

  letGo(): void {
    if (--this.holders === 0) this.pool.takeBack(this.memory, this.isSpoiled);
  }
}

/** The memory of this thread that is not in use. */
export class Pool {
  private lastNumber = 0;
  private free: Memory[] = [];
  private readonly knowers = new Set<Knower>();

  constructor(
    readonly binding: Binding,
    private readonly mostFreeBytes: number,
  ) {}

  /** Bytes that are kept though nobody uses them. */
  get freeBytes(): number {
    return this.free.reduce((bytes, memory) => bytes + memory.size, 0);
  }

  watch(knower: Knower): void {
    this.knowers.add(knower);
  }

  unwatch(knower: Knower): void {
    this.knowers.delete(knower);
  }

  /** Memory for `size` bytes, more than none, held once; what is in it is anything. A negative errno where there is none. */
  lend(size: number): Loan | number {
    const rounded = roundedSize(size);
    // The one that came back last: of that the most is in the processor's cache.
    const found = this.free.findLastIndex((memory) => memory.size >= rounded && memory.size <= 2 * rounded);
    if (found >= 0) return new Loan(this.free.splice(found, 1)[0] as Memory, size, this);
    const slot = this.binding.createMemory(rounded);
    return slot < 0 ? slot : new Loan({ number: ++this.lastNumber, slot, size: rounded }, size, this);
  }

  /** Nobody uses it any more. */
  takeBack(memory: Memory, isSpoiled: boolean): void {
    if (isSpoiled) {
      this.drop(memory);
      return;
    }
    this.free.push(memory);
    while (this.freeBytes > this.mostFreeBytes || this.free.length > MAX_FREE) this.drop(this.free.shift() as Memory);
  }

  private drop(memory: Memory): void {
    for (const knower of this.knowers) knower.withdraw(memory.number);
    this.binding.closeMemory(memory.slot);
  }
}

let pool: Pool | Error | undefined;

/** This thread's, or why there is none. @throws RangeError for a setting that cannot be */
export function ownPool(): Pool | Error {
  if (pool === undefined) {
    const binding = loadBinding();
    pool = binding instanceof Error ? binding : new Pool(binding, readPoolBytes());
  }
  return pool;
}

/** A size of which there are not too many: up to an eighth more. What is not touched takes no memory. */
function roundedSize(size: number): number {
  const step = Math.max(PAGE, 2 ** (Math.floor(Math.log2(size)) - 3));
  return Math.ceil(size / step) * step;
}
