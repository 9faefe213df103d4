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
  return (exposed.get(name) as (...args: unknown[]) => unknown)(...args);
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

  test("a name that is taken is a TypeError", () => {
    const exposed = new ExposedFunctions();
    exposed.add({ ping: () => 1 });
    assert.throws(() => { exposed.add({ ping: () => 2 }); }, /ping is exposed already/);
  });
});
