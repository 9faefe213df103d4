import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { resolve } from "node:path";
import { suite, test } from "node:test";
import { pathToFileURL } from "node:url";
import vm from "node:vm";

import type { Exposables } from "../src/exposables";
import { Exposed } from "../src/exposed";
import * as sample from "./sample_module";

function names(functions: Exposables): string[] {
  const exposed = new Exposed();
  exposed.add(functions);
  return exposed.names();
}

function call(functions: Exposables, name: string, ...args: unknown[]): unknown {
  const exposed = new Exposed();
  exposed.add(functions);
  const entry = exposed.get(name);
  return Reflect.apply(entry?.run as () => unknown, entry?.self, args) as unknown;
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
  test("of a module, its functions, its classes and the methods of its objects: no private ones, no constants", () => {
    const expected = ["Thing", "Thing.make", "double", "later", "nested.inner", "thing.twice"];
    assert.deepEqual(names({ sample }), expected.map((name) => `sample.${name}`));
    assert.ok(call({ sample }, "sample.Thing") instanceof sample.Thing);
    assert.ok(call({ sample }, "sample.Thing.make") instanceof sample.Thing);
    assert.equal(call({ sample }, "sample.double", 4), 8);
    assert.equal(call({ sample }, "sample.nested.inner"), 1);
    assert.equal(call({ sample }, "sample.thing.twice"), 2);
  });

  test("a module in CommonJS says which file it is, and of others the program may", () => {
    const exposed = new Exposed();
    exposed.add({ sample, parts: { ...sample } });
    // These tests are compiled: by its source map it is known by its source.
    const compiled = require.resolve("./sample_module");
    const file = resolve(__dirname, "..", "..", "..", "test", "sample_module.ts");
    assert.deepEqual(exposed.sources().map((source) => [source.key, source.file]), [["sample", file]]);
    exposed.nameFiles({ parts: pathToFileURL(compiled).href });
    const [, parts] = exposed.sources();
    assert.equal(parts?.file, file);
    assert.ok(parts.project === null || file.endsWith(`/${parts.project}`));
    assert.throws(() => { exposed.nameFiles({ nobody: file }); }, /^TypeError: files: nobody is not exposed$/);
    assert.throws(() => { exposed.nameFiles({ parts: "/nowhere" }); }, /^TypeError: files: parts: there is no file \/nowhere$/);
  });

  test("of a plain object, its own functions, with the object as this", () => {
    const counter = { count: 5, read(): number { return this.count; }, _private: (): number => 1 };
    assert.deepEqual(names({ counter }), ["counter.read"]);
    assert.equal(call({ counter }, "counter.read"), 5);
  });

  test("of an instance, the methods of its classes and its fields that are functions, with the instance as this", () => {
    assert.deepEqual(names({ model: new Model() }), ["model.field", "model.inherited", "model.scale"]);
    assert.equal(call({ model: new Model() }, "model.scale", 2), 6);
  });

  test("a function, under exactly its key", () => {
    assert.deepEqual(names({ ping: () => "pong" }), ["ping"]);
  });

  test("nothing that every object has can be called", () => {
    const exposed = new Exposed();
    exposed.add({ sample, model: new Model() });
    for (const name of ["sample.toString", "sample.__proto__", "model.constructor", "model.hasOwnProperty", "constructor", ""]) {
      assert.equal(exposed.get(name), undefined);
    }
  });
});

suite("what is nearest counts", () => {
  class Base {
    shared(): string { return `base of ${this.name()}`; }
    name(): string { return "Base"; }
    overridden(): number { return 1; }
    hiddenByAnAccessor(): number { return 1; }
    hiddenByAField(): number { return 1; }
  }
  class Service extends Base {
    #secret = 41;
    override name(): string { return "Service"; }
    override overridden(): number { return 2; }
    own(): number { return ++this.#secret; }
    field = (): number => this.#secret;
    [Symbol("key")](): number { return 0; }
  }
  Object.defineProperty(Service.prototype, "hiddenByAnAccessor", { get: () => assert.fail("an accessor ran"), configurable: true });
  const service = Object.assign(new Service(), { hiddenByAField: 5 });

  test("inherited methods and function-valued fields are exposed, the nearest definition of each, with private members", () => {
    assert.deepEqual(names({ service }), [
      "service.field", "service.name", "service.overridden", "service.own", "service.shared",
    ]);
    assert.equal(call({ service }, "service.shared"), "base of Service");
    assert.equal(call({ service }, "service.overridden"), 2);
    assert.equal(call({ service }, "service.own"), 42);
  });

  test("what the language's own classes define is not exposed, what a subclass of one defines is", () => {
    class Store extends Map<string, number> {
      count(): number { return this.size; }
      override clear(): void { throw new Error("not for peers"); }
    }
    class Samples extends Float64Array { total(): number { return this.reduce((sum, sample) => sum + sample, 0); } }
    class Source extends EventTarget { start(): void { this.dispatchEvent(new Event("start")); } }
    assert.deepEqual(names({ store: new Store(), samples: new Samples(3), source: new Source() }), [
      "samples.total", "source.start", "store.clear", "store.count",
    ]);
    const numbers = (function* () { yield 1; })();
    assert.throws(() => names({ numbers }), /numbers has no public functions/);
    assert.deepEqual(names({ emitter: new EventEmitter() }).filter((name) => name === "emitter.emit"), ["emitter.emit"]);
  });

  test("an object without a prototype, one of another realm, and one behind a proxy are as any other", () => {
    const bare = Object.assign(Object.create(null) as object, { f: () => 1 });
    const foreign = vm.runInNewContext("({ f: () => 1 })") as object;
    const foreignInstance = vm.runInNewContext("new (class A { f() { return 1; } })()") as object;
    const proxied = new Proxy(new Service(), {});
    assert.deepEqual(names({ bare, foreign, foreignInstance }), ["bare.f", "foreign.f", "foreignInstance.f"]);
    assert.ok(names({ proxied }).includes("proxied.shared"));
  });

  test("no accessor is run, whatever the object", () => {
    const plain = { f: () => 1, get g(): never { return assert.fail("it ran"); } };
    const defined = Object.defineProperty({ f: () => 1 }, "g", { get: () => assert.fail("it ran"), enumerable: true });
    class Child extends Base { get g(): never { return assert.fail("it ran"); } }
    assert.deepEqual(names({ plain, defined }), ["defined.f", "plain.f"]);
    for (const close of [Object.freeze, Object.seal]) {
      const closed = close({ get g(): never { return assert.fail("it ran"); } });
      assert.throws(() => names({ closed }), /closed has no public functions/);
    }
    assert.ok(!names({ child: new Child() }).includes("child.g"));
  });

  test("what compilers and bundlers make of a module is a module: its getters are its names, its functions have no this", () => {
    const compiled = Object.defineProperties({}, { __esModule: { value: true }, f: { enumerable: true, get: () => f } });
    const bundled = Object.defineProperties({}, { f: { enumerable: true, get: () => f }, n: { enumerable: true, get: () => 1 } });
    function f(this: unknown): unknown { return this; }
    assert.deepEqual(names({ compiled, bundled }), ["bundled.f", "compiled.f"]);
    assert.equal(call({ compiled }, "compiled.f"), undefined);
  });

  test("a module that is still being loaded is a TypeError that names what has no value yet", () => {
    const loading = Object.defineProperties({}, { f: { enumerable: true, get: () => { throw new ReferenceError("Cannot access 'f'"); } } });
    assert.throws(() => names({ loading }), /TypeError: expose: loading\.f has no value yet.*Cannot access 'f'/);
  });

  test("a class is known without a look at its source, a function that is frozen or says `class` is none", () => {
    const named = eval("(function () { /* class arguments */ return 'class'; })") as () => string;
    const frozen = Object.freeze(function frozen() { return 1; });
    class Frozen { f(): number { return 1; } }
    Object.freeze(Frozen);
    const generator = Object.freeze(function* generator() { yield 1; });
    const asynchronous = Object.freeze(async function* asynchronous() { yield await Promise.resolve(1); });
    const bag = { named, frozen, generator, asynchronous, Model, Map, Frozen, Native: Date };
    assert.deepEqual(names({ bag }), ["bag.asynchronous", "bag.frozen", "bag.generator", "bag.named"]);
  });
});

function endless(): object {
  const proxy: object = new Proxy({}, { getPrototypeOf: () => proxy });
  return proxy;
}

suite("what cannot be exposed", () => {
  const cases: [string, Exposables, RegExp][] = [
    ["a class", { Model }, /Model is a class/],
    ["a number", { x: 5 as unknown as object }, /x is number/],
    ["null", { x: null as unknown as object }, /x is null/],
    ["an object without functions", { x: { a: 1 } }, /x has no public functions/],
    ["a name of 257 bytes", { ["x".repeat(257)]: (): void => undefined }, /a name must be 1 to 256 bytes/],
    ["what has prototypes without end", { x: endless() }, /x has a chain of more than 1000 prototypes/],
    ["an array", [(): void => undefined] as unknown as Exposables, /expose=.*: must be an object/],
    ["a Map", new Map([["f", (): void => undefined]]) as unknown as Exposables, /expose=.*: must be an object/],
    ["an empty name", { "": (): void => undefined }, /a name must be 1 to 256 bytes/],
    ["a name with a lone surrogate", { "\ud800": (): void => undefined }, /a name must be 1 to 256 bytes/],
  ];
  for (const [name, functions, message] of cases) {
    test(`${name} is a TypeError, and then nothing is exposed`, () => {
      const exposed = new Exposed();
      const given = Array.isArray(functions) || functions instanceof Map ? functions : { fine: () => 1, ...functions };
      assert.throws(() => { exposed.add(given); }, (error) => error instanceof TypeError && message.test(error.message));
      assert.deepEqual(exposed.names(), []);
    });
  }

  test("what is the library's own can be called, is not listed, and cannot be exposed by others", () => {
    const exposed = new Exposed();
    exposed.addBuiltIn("connections", () => 1);
    assert.notEqual(exposed.get("shm_polyglot.connections"), undefined);
    assert.deepEqual(exposed.names(), []);
    assert.throws(() => { exposed.add({ shm_polyglot: { other: () => 2 } }); }, /shm_polyglot\.other: .* the library's own/);
  });

  test("a name that is taken is a TypeError", () => {
    const exposed = new Exposed();
    exposed.add({ ping: () => 1 });
    assert.throws(() => { exposed.add({ ping: () => 2 }); }, /ping is exposed already/);
  });

  test("more functions than a worker may name are refused, and then nothing is exposed", () => {
    const exposed = new Exposed();
    exposed.addBuiltIn("connections", () => []);
    const module = Object.fromEntries(Array.from({ length: 65_536 }, (_, index) => [`f${index}`, () => index]));
    exposed.add({ module });
    assert.throws(() => { exposed.add({ oneMore: () => 1 }); }, { name: "TypeError", message: "expose: 65537 functions: at most 65536 are allowed" });
    assert.equal(exposed.names().length, 65_536);
  });
});
