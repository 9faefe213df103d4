/** Objects whose every hook may throw, as chance decides: what a user's object can do while somebody looks at it. */

/** What hooks throw: errors, and what is none. */
const THROWN: readonly (() => unknown)[] = [
  () => new Error("a hook threw"),
  () => undefined,
  () => null,
  () => Symbol("thrown"),
  () => 5n,
  () => () => 1,
  () => Object.create(null) as object,
  () => { const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); return proxy; },
];

/** Gives the same decisions in the same order, over and over. */
export class Chance {
  private at = 0;
  constructor(private readonly decisions: readonly number[]) {}

  below(count: number): number {
    const decision = this.decisions[this.at++ % this.decisions.length] ?? 0;
    return decision % count;
  }
}

const HOOKS = [
  "message", "stack", "name", "constructor", "cause", "errors", "data", "code", "then", "next", "return", "done", "value", "length",
  "destroy", "pipe", "on", "cancel", "getReader", "toJSON", "toString", "size",
  Symbol.iterator, Symbol.asyncIterator, Symbol.toPrimitive, Symbol.toStringTag, Symbol.for("nodejs.util.inspect.custom"),
] as const;

const TARGETS: readonly (() => object)[] = [
  () => ({}),
  () => new Error("a target"),
  () => [1, 2],
  () => new Map([[1, 2]]),
  () => function target() { return 1; },
  () => Object.setPrototypeOf(new Error("no prototype"), null) as object,
  () => new Uint8Array(3),
  () => (function* () { yield 1; })(),
  () => Promise.resolve(1),
];

/** An object that throws, or gives another such object, wherever `chance` says so. */
export function hostile(chance: Chance, depth = 0): object {
  const target = (TARGETS[chance.below(TARGETS.length)] as () => object)();
  if (chance.below(2) === 0) return trapped(target, chance, depth);
  for (let hooks = chance.below(4); hooks > 0; hooks--) {
    const hook = HOOKS[chance.below(HOOKS.length)] as PropertyKey;
    const property: PropertyDescriptor = { configurable: true, enumerable: chance.below(2) === 0 };
    if (chance.below(2) === 0) property.get = (): unknown => outcome(chance, depth);
    else property.value = (): unknown => outcome(chance, depth);
    try {
      Object.defineProperty(target, hook, property);
    } catch {
      // What the target cannot have, such as another length.
    }
  }
  return target;
}

/** What a hook does. */
function outcome(chance: Chance, depth: number): unknown {
  if (chance.below(2) === 0) throw (THROWN[chance.below(THROWN.length)] as () => unknown)();
  if (depth > 3 || chance.below(2) === 0) return [undefined, null, 5, "text", true][chance.below(5)];
  return hostile(chance, depth + 1);
}

function trapped(target: object, chance: Chance, depth: number): object {
  const may = <R>(usual: () => R): R => {
    if (chance.below(3) === 0) throw (THROWN[chance.below(THROWN.length)] as () => unknown)();
    return usual();
  };
  return new Proxy(target, {
    get: (object, key) => may(() => (chance.below(2) === 0 ? outcome(chance, depth) : (Reflect.get(object, key) as unknown))),
    has: (object, key) => may(() => Reflect.has(object, key)),
    ownKeys: (object) => may(() => Reflect.ownKeys(object)),
    getPrototypeOf: (object) => may(() => Reflect.getPrototypeOf(object)),
    getOwnPropertyDescriptor: (object, key) => may(() => Reflect.getOwnPropertyDescriptor(object, key)),
    defineProperty: (object, key, property) => may(() => Reflect.defineProperty(object, key, property)),
    apply: () => may(() => outcome(chance, depth)),
    construct: () => may(() => ({})),
  });
}
