/** What an import of a Python module gives: functions and objects of this side that stand for those of the other. */

import type { CallOptions, StreamOptions } from "./bridge";
import type { ClassDescription, FunctionDescription, InstanceDescription, ModuleDescription, Overload, Parameter, Type } from "./described/description";
import { giveMethods, isHandle, type RemoteMethod, streamMethod } from "./references";

/** What stubs call. */
export interface Target {
  call(name: string, args: readonly unknown[], options: CallOptions): Promise<unknown>;
  stream(name: string, args: readonly unknown[], options: StreamOptions): AsyncIterable<unknown>;
  callOf(handle: object, name: string, args: readonly unknown[], options: CallOptions): Promise<unknown>;
  streamOf(handle: object, name: string, args: readonly unknown[], options: StreamOptions): AsyncIterable<unknown>;
}

type Stub = (...args: unknown[]) => unknown;
type WithOptions = (options: CallOptions | StreamOptions, args: readonly unknown[]) => unknown;

/** How a stub is called with options. */
const callers = new WeakMap<object, WithOptions>();

/**
 * What a module that is described so gives its importers, by name: asynchronous functions, objects with such methods, constants
 * and enums as they are; `undefined` for what is only a type, because an import of one may be left in by a compiler.
 */
export function makeStubs(module: ModuleDescription, target: Target): Record<string, unknown> {
  return new Stubs(module, target).all();
}

/**
 * The same function, but that its calls are made with these options; those that it has already stay.
 *
 * ```ts
 * const quickly = withOptions(predict, { timeoutMs: 500, idempotent: true });
 * ```
 *
 * @typeParam F the function's type.
 * @param stub a function that was imported or loaded from Python, or a method of an object that was.
 * @param options as those of `bridge.call`, or of `bridge.stream` for one that gives items.
 * @throws TypeError for any other function.
 */
export function withOptions<F extends (...args: never[]) => unknown>(stub: F, options: CallOptions | StreamOptions): F {
  const call = typeof stub === "function" ? callers.get(stub) : undefined;
  if (call === undefined) throw new TypeError("withOptions: must be given an imported function of the other language, or a method of an imported object");
  return stubOf(stub.name, (more, args) => call({ ...options, ...more }, args)) as unknown as F;
}

function stubOf(name: string, call: WithOptions): Stub {
  const stub = { [name]: (...args: unknown[]) => call({}, args) }[name] as Stub;
  callers.set(stub, call);
  return stub;
}

/** Makes the stubs of one module. */
class Stubs {
  private readonly classes: ReadonlyMap<string, ClassDescription>;
  /** Types of the module whose instances are values. */
  private readonly values: ReadonlySet<string>;

  constructor(private readonly module: ModuleDescription, private readonly target: Target) {
    this.classes = new Map(module.classes.map((one) => [one.name, one]));
    this.values = new Set(module.types.filter(({ shape }) => shape !== "alias").map(({ name }) => name));
  }

  all(): Record<string, unknown> {
    const { module } = this;
    const stubs: Record<string, unknown> = {};
    for (const type of module.types) stubs[type.name] = type.shape === "enum" ? enumOf(type.members) : undefined;
    for (const { name, value } of module.constants) stubs[name] = deepFrozen(value);
    for (const one of module.functions) stubs[one.name] = this.functionOf(one.name, one);
    for (const one of module.classes) stubs[one.name] = this.classOf(one);
    for (const one of module.instances) stubs[one.name] = this.instanceOf(one);
    // What has a `then` is taken for a promise by whoever awaits it, and never arrives.
    delete stubs["then"];
    return stubs;
  }

  private functionOf(fullName: string, described: FunctionDescription): Stub {
    const { target } = this;
    return this.calling(
      described,
      fullName,
      (args, options) => target.call(fullName, args, options),
      (args, options) => target.stream(fullName, args, options),
    );
  }

  private calling(
    described: FunctionDescription,
    fullName: string,
    call: (args: readonly unknown[], options: CallOptions) => Promise<unknown>,
    stream: (args: readonly unknown[], options: StreamOptions) => AsyncIterable<unknown>,
  ): Stub {
    const shape = shapeOf(described.overloads);
    const results = described.overloads.map(({ result }) => result);
    const handles = results.some((result) => this.mayStay(result));
    const sorted = (options: CallOptions, given: readonly unknown[]): [unknown[], CallOptions] => {
      const { args, kwargs } = sort(fullName, shape, given);
      return [args, kwargs === undefined ? options : { ...options, kwargs }];
    };
    if (shape.isStream) {
      const items = results.flatMap((result) => (result.kind === "iterator" ? [result.item] : []));
      const mayItemsStay = items.some((item) => this.mayStay(item));
      return stubOf(described.name, (options, given) => {
        const [args, how] = sorted(options, given);
        return mayItemsStay ? this.dressedItems(stream(args, { ...how, handles: true }), items) : stream(args, how);
      });
    }
    // Asynchronous: what is wrong with the arguments rejects, as all else does.
    return stubOf(described.name, async (options, given) => {
      const [args, how] = sorted(options, given);
      return handles ? this.dressed(await call(args, { ...how, handles: true }), results) : call(args, how);
    });
  }

  private instanceOf(described: InstanceDescription): object {
    const stub: Record<string, unknown> = {};
    for (const method of described.methods) {
      if (method.name !== "then") stub[method.name] = this.functionOf(`${described.name}.${method.name}`, method);
    }
    return Object.freeze(stub);
  }

  /** Called with or without `new` it gives a promise of an object that stays on the other side. */
  private classOf({ name, init, static: methods }: ClassDescription): Stub {
    const made: Overload[] = init === null ? [] : [init];
    const construct = this.functionOf(name, { name, doc: null, async: false, overloads: made });
    const stub = {
      // A constructor that gives an object gives that one: here a promise.
      [name]: function (...args: unknown[]): unknown {
        if (init === null) throw new TypeError(`${name} is abstract: there are no objects of it`);
        return construct(...args);
      },
    }[name] as Stub;
    for (const method of methods) {
      Object.defineProperty(stub, method.name, { value: this.functionOf(`${name}.${method.name}`, method), enumerable: true });
    }
    return stub;
  }

  /** Whether a result of this type may be a function, or an object that stays on the other side. */
  private mayStay(type: Type): boolean {
    if (type.kind === "union") return type.options.some((option) => this.mayStay(option));
    if (type.kind === "ref") return !this.values.has(type.name);
    return ["handle", "callable", "any", "unknown"].includes(type.kind);
  }

  /** A handle with the methods of its class, where that is known. */
  private dressed(result: unknown, types: readonly Type[]): unknown {
    if (!isHandle(result)) return result;
    const names = new Set(types.flatMap((type) => (type.kind === "union" ? type.options : [type])).flatMap((type) => (type.kind === "handle" ? [type.name] : [])));
    const [name] = names;
    const described = names.size === 1 && name !== undefined ? this.classes.get(name) : undefined;
    if (described !== undefined) {
      giveMethods(result, described.name, described.methods.map((method) => [method.name, this.methodOf(result, method)]));
    }
    return result;
  }

  private async *dressedItems(stream: AsyncIterable<unknown>, types: readonly Type[]): AsyncGenerator<unknown, void, undefined> {
    for await (const item of stream) yield this.dressed(item, types);
  }

  private methodOf(handle: object, described: FunctionDescription): RemoteMethod {
    const { target } = this;
    const { name } = described;
    const stub = this.calling(
      described,
      name,
      (args, options) => target.callOf(handle, name, args, options),
      (args, options) => target.streamOf(handle, name, args, options),
    );
    return Object.assign(stub, { stream: (...args: readonly unknown[]) => streamMethod(handle, name, args) }) as unknown as RemoteMethod;
  }
}

/** How a function's arguments are told apart. */
interface Shape {
  /** Those given by place, in order. */
  byPlace: readonly Parameter[];
  /** Any number more of them. */
  hasMore: boolean;
  /** It has parameters that are given by name: here, in an object behind the others. */
  hasNamed: boolean;
  /** The names of these, as far as they are known. */
  named: readonly string[];
  isStream: boolean;
}

function shapeOf(overloads: readonly Overload[]): Shape {
  const params = overloads.map((overload) => overload.params);
  const placesOf = (of: readonly Parameter[]): Parameter[] => of.filter(({ kind }) => kind === "positional" || kind === "either");
  const longest = params.map(placesOf).reduce((most, other) => (other.length > most.length ? other : most), []);
  const has = (...kinds: Parameter["kind"][]): boolean => params.some((of) => of.some(({ kind }) => kinds.includes(kind)));
  return {
    byPlace: longest,
    hasMore: has("var"),
    hasNamed: has("keyword", "var_keyword"),
    named: [...new Set(params.flatMap((of) => of.flatMap(({ name, kind }) => (kind === "keyword" ? [name] : kind === "var_keyword" ? ["…"] : []))))],
    isStream: overloads.length > 0 && overloads.every(({ result }) => result.kind === "iterator"),
  };
}

interface Given {
  args: unknown[];
  kwargs: Record<string, unknown> | undefined;
}

/** Which arguments go by place and which by name. `undefined` is what has not been given. @throws TypeError */
function sort(name: string, shape: Shape, given: readonly unknown[]): Given {
  const args = [...given];
  let kwargs: Record<string, unknown> | undefined;
  if (shape.hasNamed) {
    const place = shape.hasMore ? Math.max(shape.byPlace.length, args.length - 1) : shape.byPlace.length;
    const options = args[place];
    if (isOptions(options)) {
      args.splice(place, 1);
      const named = Object.entries(options).filter(([, value]) => value !== undefined);
      if (named.length > 0) kwargs = Object.fromEntries(named);
    } else if (options !== undefined && !shape.hasMore) {
      throw new TypeError(`${name}: args[${place}] must be an object with what is given by name: { ${shape.named.join(", ")} }`);
    }
  }
  while (args.length > 0 && args[args.length - 1] === undefined && shape.byPlace[args.length - 1]?.optional !== false) args.pop();
  const left = args.findIndex((value, place) => value === undefined && shape.byPlace[place]?.optional === true);
  if (left < 0) return { args, kwargs };
  // What follows one that has its default can be given by its name only.
  for (let place = left; place < args.length; place++) {
    const parameter = shape.byPlace[place];
    if (args[place] === undefined && parameter?.optional === true) continue;
    if (parameter?.kind !== "either") {
      throw new TypeError(`${name}: args[${left}] is undefined, its default, and what follows it can be given by its place only: give both`);
    }
    kwargs = { ...kwargs, [parameter.name]: args[place] };
  }
  return { args: args.slice(0, left), kwargs };
}

function isOptions(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function enumOf(members: readonly { name: string; value: string | number }[]): object {
  return Object.freeze(Object.fromEntries(members.map(({ name, value }) => [name, value])));
}

function deepFrozen(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  for (const part of Object.values(value)) deepFrozen(part);
  return Object.freeze(value);
}
