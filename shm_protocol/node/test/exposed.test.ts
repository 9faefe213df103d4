import assert from "node:assert/strict";
import { suite, test } from "node:test";

import { type Exposables, ExposedFunctions } from "../src/exposed";
import * as sample from "./sample_module";

function names(functions: Exposables): string[] {
  const exposed = new ExposedFunctions();
  exposed.add(functions);
  return exposed.names();
}

function call(functions: Exposables, name: string, ...args: unknown[]): unknown {
  const exposed = new ExposedFunctions();
  exposed.add(functions);
  return (exposed.get(name)?.run as (...args: unknown[]) => unknown)(...args);
}

class Base {
  inherited(): number {
    return 0;
  }
}

class Model extends Base {
  static create(): Model {
    return new Model();
  }
  field = (): number => 1;
  private readonly factor = 3;
  scale(x: number): number {
    return x * this.factor;
  }
  _hidden(): number {
    return 2;
  }
  get value(): number {
    throw new Error("a getter must not run");
  }
}

suite("what is exposed", () => {
  test("of a module, its functions: no private ones, no classes, no constants, nothing inside of its objects", () => {
    assert.deepEqual(names({ sample }), ["sample.double", "sample.later"]);
    assert.equal(call({ sample }, "sample.double", 4), 8);
  });

  test("of a plain object, its own functions, with the object as this", () => {
    const counter = { count: 5, read(): number { return this.count; }, _private: (): number => 1 };
    assert.deepEqual(names({ counter }), ["counter.read"]);
    assert.equal(call({ counter }, "counter.read"), 5);
  });

  test("of an instance, the methods of its class, bound to it", () => {
    assert.deepEqual(names({ model: new Model() }), ["model.scale"]);
    assert.equal(call({ model: new Model() }, "model.scale", 2), 6);
  });

  test("a function, under exactly its key", () => {
    assert.deepEqual(names({ ping: () => "pong" }), ["ping"]);
  });

  test("nothing that every object has can be called", () => {
    const exposed = new ExposedFunctions();
    exposed.add({ sample, model: new Model() });
    for (const name of ["sample.toString", "sample.__proto__", "model.constructor", "model.hasOwnProperty", "constructor", ""]) {
      assert.equal(exposed.get(name), undefined);
    }
  });
});

suite("how many arguments a function takes", () => {
  const cases: [string, (...args: never[]) => unknown, number][] = [
    ["an arrow function", (a: number, b: number) => a + b, 2],
    ["an arrow function without parentheses", eval("x => x") as () => unknown, 1],
    ["an async arrow function without parentheses", eval("async x => x") as () => unknown, 1],
    ["a function without parameters", () => 1, 0],
    ["a function", function named(a: number, b: number) { return a + b; }, 2],
    ["an async function", async (a: number) => Promise.resolve(a), 1],
    ["a generator", function* (a: number) { yield a; }, 1],
    ["an async generator", async function* (a: number) { yield await Promise.resolve(a); }, 1],
    ["a list with a comma at its end", eval("(a, b,) => a") as () => unknown, 2],
    ["names with odd letters", eval("($, _a1, été) => $") as () => unknown, 3],
    ["a default", (a: number, b = 1) => a + b, Infinity],
    ["a rest", (a: number, ...rest: number[]) => a + rest.length, Infinity],
    ["only a rest", (...rest: number[]) => rest.length, Infinity],
    ["a pattern", ({ a }: { a: number }) => a, Infinity],
    ["a comment in the list", eval("(a /* , b */) => a") as () => unknown, Infinity],
    ["a comment before a default", eval("(function /* f(a) */ g(a, b = 1) { return b; })") as () => unknown, Infinity],
    ["a function that looks at its arguments", eval("(function (a) { return arguments.length; })") as () => unknown, Infinity],
    ["a built-in function", Math.max, Infinity],
    ["a bound function", ((a: number) => a).bind(null), Infinity],
    ["a long name before a pattern", eval(`(${"a".repeat(5000)}, {}) => 1`) as () => unknown, Infinity],
  ];
  for (const [name, exposed, most] of cases) {
    test(`${name}: ${most === Infinity ? "as many as it is given" : `at most ${most}`}`, () => {
      const functions = new ExposedFunctions();
      functions.add({ exposed, within: { exposed } });
      assert.equal(functions.get("exposed")?.mostArguments, most);
      assert.equal(functions.get("within.exposed")?.mostArguments, most);
    });
  }

  test("a method, as a function", () => {
    class Odd {
      scale(x: number): number { return x; }
      async *"count(a, b)"(to: number, from = 0) { for (let x = from; x < to; x++) yield await Promise.resolve(x); }
    }
    const functions = new ExposedFunctions();
    functions.add({ odd: new Odd() });
    assert.equal(functions.get("odd.scale")?.mostArguments, 1);
    assert.equal(functions.get("odd.count(a, b)")?.mostArguments, Infinity);
  });
});

suite("what cannot be exposed", () => {
  const cases: [string, Exposables, RegExp][] = [
    ["a class", { Model }, /Model is a class/],
    ["a number", { x: 5 as unknown as object }, /x is number/],
    ["null", { x: null as unknown as object }, /x is null/],
    ["an object without functions", { x: { a: 1 } }, /x has no public functions/],
    ["a name of 257 bytes", { ["x".repeat(257)]: (): void => undefined }, /is no name/],
    ["an empty name", { "": (): void => undefined }, /is no name/],
    ["a name with a lone surrogate", { "\ud800": (): void => undefined }, /is no name/],
  ];
  for (const [name, functions, message] of cases) {
    test(`${name} is a TypeError, and then nothing is exposed`, () => {
      const exposed = new ExposedFunctions();
      assert.throws(() => { exposed.add({ fine: () => 1, ...functions }); }, (error) => error instanceof TypeError && message.test(error.message));
      assert.deepEqual(exposed.names(), []);
    });
  }

  test("what is the library's own can be called, is not listed, and cannot be exposed by others", () => {
    const exposed = new ExposedFunctions();
    exposed.addBuiltIn("connections", () => 1);
    assert.equal(exposed.get("shm_polyglot.connections")?.mostArguments, 0);
    assert.deepEqual(exposed.names(), []);
    assert.throws(() => { exposed.add({ shm_polyglot: { other: () => 2 } }); }, /shm_polyglot\.other: .* the library's own/);
  });

  test("a name that is taken is a TypeError", () => {
    const exposed = new ExposedFunctions();
    exposed.add({ ping: () => 1 });
    assert.throws(() => { exposed.add({ ping: () => 2 }); }, /ping is exposed already/);
  });
});
