/** TypeScript's types as the terms of a description: what crosses as a value, and the module's own types by their names. */

import type ts from "typescript";

import type { Compiler } from "./compiler";
import type { Field, NamedType, Scalar, Type } from "./description";
import type { DocComments } from "./doc_comments";

/** NumPy's names of what typed arrays hold; a Uint8Array is bytes. */
const DTYPES: ReadonlyMap<string, string> = new Map([
  ["Int8Array", "int8"], ["Uint8ClampedArray", "uint8"], ["Int16Array", "int16"], ["Uint16Array", "uint16"],
  ["Int32Array", "int32"], ["Uint32Array", "uint32"], ["Float32Array", "float32"], ["Float64Array", "float64"],
  ["BigInt64Array", "int64"], ["BigUint64Array", "uint64"],
]);
const BYTES = new Set(["Uint8Array", "Buffer"]);
const PROMISES = new Set(["Promise", "PromiseLike"]);
const ASYNC_ITERATORS = new Set(["AsyncGenerator", "AsyncIterable", "AsyncIterator", "AsyncIterableIterator", "AsyncIteratorObject", "ReadableStream"]);
const ITERATORS = new Set(["Generator", "Iterable", "Iterator", "IterableIterator", "IteratorObject"]);
/** A type with a brand, `number & { readonly brand: … }`, of one of these names is an integer. */
const INTEGERS = new Set(["Int", "Integer"]);
const MAX_TYPE_DEPTH = 20;

/** Where a type stands: what is given to a function, or what it gives. */
export type Way = "in" | "out";

export class TypeTerms {
  /** The module's types, and those that they are made of, in the order in which they were met. */
  readonly named: NamedType[] = [];
  private readonly names = new Map<ts.Type, string>();
  private readonly taken = new Set<string>();
  private readonly classes = new Map<ts.Symbol, string>();
  private depth = 0;

  constructor(
    private readonly api: Compiler,
    private readonly checker: ts.TypeChecker,
    private readonly program: ts.Program,
    private readonly docs: DocComments,
  ) {}

  /** Nothing else is to have this name. */
  reserve(name: string): void {
    this.taken.add(name);
  }

  /** A class of the module: its instances stay where they are. */
  addClass(symbol: ts.Symbol, name: string): void {
    this.classes.set(symbol, name);
  }

  /** Which class of the module a type's objects are of. */
  classOf(type: ts.Type): string | null {
    const symbol = type.getSymbol();
    return (symbol === undefined ? undefined : this.classes.get(symbol)) ?? null;
  }

  /** An interface, alias or enum that the module exports under this name. */
  addExported(symbol: ts.Symbol, name: string): void {
    const type = this.checker.getDeclaredTypeOfSymbol(symbol);
    // By the symbol: the type of an enum with one member is that member's.
    if ((symbol.flags & this.api.SymbolFlags.Enum) !== 0) {
      this.names.set(type, name);
      this.named.push({ name, doc: this.docs.of(symbol), shape: "enum", members: this.members(symbol) });
      return;
    }
    if (this.names.has(type) || (type.flags & this.api.TypeFlags.Object) === 0 && type.aliasSymbol === undefined) {
      // A second name, or one for what has no identity of its own, such as `string`.
      this.named.push({ name, doc: this.docs.of(symbol), shape: "alias", type: this.of(type, name, "out") });
      return;
    }
    this.names.set(type, name);
    this.define(type, name, symbol);
  }

  /** What a function gives, which it may promise. */
  result(type: ts.Type, hint: string): Type {
    return this.of(this.awaited(type) ?? type, hint, "out");
  }

  /**
   * The same, of what a function of the module gives. An object that stays where it is can be that, or an item of an iterator,
   * and cannot be sent within another value.
   */
  sendable(term: Type, type: ts.Type): Type {
    if (term.kind === "iterator") return this.holdsObject(term.item, false, new Set()) ? { ...term, item: this.unknown(type) } : term;
    return this.holdsObject(term, false, new Set()) ? this.unknown(type) : term;
  }

  private holdsObject(term: Type, isWithin: boolean, seen: Set<string>): boolean {
    if (term.kind === "handle") return isWithin;
    if (term.kind === "union") return term.options.some((option) => this.holdsObject(option, isWithin, seen));
    if (term.kind === "list") return this.holdsObject(term.item, true, seen);
    if (term.kind === "tuple") return term.items.some((item) => this.holdsObject(item, true, seen));
    if (term.kind === "dict") return this.holdsObject(term.value, true, seen);
    if (term.kind !== "ref" || seen.has(`${term.name} ${isWithin}`)) return false;
    seen.add(`${term.name} ${isWithin}`);
    const named = this.named.find(({ name }) => name === term.name);
    if (named?.shape === "alias") return this.holdsObject(named.type, isWithin, seen);
    return named !== undefined && "fields" in named && named.fields.some((field) => this.holdsObject(field.type, true, seen));
  }

  isPromised(type: ts.Type): boolean {
    return this.awaited(type) !== undefined;
  }

  /** The fields of what is sent as a map of such, else undefined. */
  fieldsOf(term: Type): Field[] | undefined {
    const found = term.kind === "ref" ? this.named.find(({ name }) => name === term.name) : undefined;
    return found?.shape === "interface" ? found.fields : undefined;
  }

  /** hint: what it is called if it has no name and needs one. */
  of(type: ts.Type, hint: string, way: Way): Type {
    if (this.depth >= MAX_TYPE_DEPTH) return this.unknown(type);
    this.depth++;
    try {
      return this.term(type, hint, way);
    } finally {
      this.depth--;
    }
  }

  /** Without undefined: for what may be left out. */
  withoutUndefined(type: ts.Type): ts.Type {
    if (!type.isUnion()) return type;
    const left = type.types.filter((option) => (option.flags & this.api.TypeFlags.Undefined) === 0);
    const [only] = left;
    return left.length === 1 && only !== undefined ? only : left.length === type.types.length ? type : this.checker.getNonNullableType(type);
  }

  private term(type: ts.Type, hint: string, way: Way): Type {
    const known = this.names.get(type);
    if (known !== undefined) return { kind: "ref", name: known };
    if (type.aliasSymbol !== undefined && this.isOfUser(type.aliasSymbol) && (type.aliasTypeArguments?.length ?? 0) === 0) {
      if (this.isAnyValue(type.aliasSymbol)) return { kind: "any" };
      if (type.isIntersection() && this.primitive(type) !== undefined) return this.branded(type, type.aliasSymbol.name);
      return this.name(type, type.aliasSymbol.name, type.aliasSymbol);
    }
    if (this.isEnum(type)) return this.name(type, type.symbol.name, type.symbol);
    if (type.isUnion()) return this.union(type, hint, way);
    if (type.isIntersection() && this.primitive(type) !== undefined) return this.branded(type, "");
    return this.plain(type) ?? this.object(type, hint, way);
  }

  private plain(type: ts.Type): Type | undefined {
    const { TypeFlags } = this.api;
    const is = (flags: ts.TypeFlags): boolean => (type.flags & flags) !== 0;
    if (is(TypeFlags.Any | TypeFlags.Unknown | TypeFlags.NonPrimitive)) return { kind: "any" };
    if (is(TypeFlags.Undefined | TypeFlags.Null | TypeFlags.Void)) return { kind: "none" };
    // One of no types.
    if (is(TypeFlags.Never)) return { kind: "union", options: [] };
    if (type.isStringLiteral() || type.isNumberLiteral()) return { kind: "literal", values: [type.value] };
    if (is(TypeFlags.BooleanLiteral)) return { kind: "literal", values: [this.checker.typeToString(type) === "true"] };
    if (is(TypeFlags.StringLike)) return { kind: "str" };
    if (is(TypeFlags.NumberLike)) return { kind: "float" };
    if (is(TypeFlags.BigIntLike)) return { kind: "int" };
    if (is(TypeFlags.BooleanLike)) return { kind: "bool" };
    if (is(TypeFlags.Instantiable)) {
      const bound = this.checker.getBaseConstraintOfType(type);
      if (bound === undefined || (bound.flags & TypeFlags.Unknown) !== 0) return { kind: "any" };
      return bound === type ? this.unknown(type) : this.of(bound, "Value", "out");
    }
    // Of anything else, such as a symbol, the compiler would look for properties without end.
    return is(TypeFlags.Object | TypeFlags.UnionOrIntersection) ? undefined : this.unknown(type);
  }

  private object(type: ts.Type, hint: string, way: Way): Type {
    const symbol = type.getSymbol();
    const args = this.checker.getTypeArguments(type as ts.TypeReference);
    const argument = (index: number): Type => (args[index] === undefined ? { kind: "any" } : this.of(args[index], hint, way));
    if (this.checker.isTupleType(type)) return { kind: "tuple", items: args.map((_, index) => argument(index)) };
    if (this.checker.isArrayType(type)) return { kind: "list", item: argument(0) };
    if (symbol !== undefined) {
      const { name } = symbol;
      if (!this.isOfUser(symbol)) {
        if (name === "Date") return { kind: "datetime" };
        if (BYTES.has(name)) return { kind: "bytes" };
        const dtype = DTYPES.get(name);
        if (dtype !== undefined) return { kind: "array", dtype };
        if (name === "Map" || name === "ReadonlyMap") return { kind: "dict", key: argument(0), value: argument(1) };
        if (PROMISES.has(name)) return argument(0);
        if (name === "Iterable" && way === "in") return { kind: "list", item: argument(0) };
        const isAsync = ASYNC_ITERATORS.has(name);
        if (way === "out" && (isAsync || ITERATORS.has(name))) return { kind: "iterator", item: argument(0), async: isAsync };
      }
      if (name === "NdArray" && this.isOfLibrary(symbol)) return { kind: "array", dtype: null };
      const handle = this.classes.get(symbol);
      if (handle !== undefined) return { kind: "handle", name: handle };
      if ((symbol.flags & this.api.SymbolFlags.Class) !== 0) return this.unknown(type);
    }
    const [call, ...more] = type.getCallSignatures();
    if (call !== undefined) return more.length > 0 ? { kind: "callable", params: null, result: { kind: "any" } } : this.callable(call, hint, way);
    if (type.getConstructSignatures().length > 0) return this.unknown(type);
    const properties = this.checker.getPropertiesOfType(type);
    const [index] = this.checker.getIndexInfosOfType(type);
    if (properties.length === 0) {
      if (index === undefined) return { kind: "any" };
      const isNumber = (index.keyType.flags & this.api.TypeFlags.Number) !== 0;
      return { kind: "dict", key: isNumber ? { kind: "int" } : { kind: "str" }, value: this.of(index.type, hint, way) };
    }
    if (symbol !== undefined && (symbol.flags & this.api.SymbolFlags.Interface) !== 0) {
      return this.isOfUser(symbol) ? this.name(type, symbol.name, symbol) : this.unknown(type);
    }
    return this.name(type, type.aliasSymbol !== undefined && this.isOfUser(type.aliasSymbol) ? type.aliasSymbol.name : hint, undefined);
  }

  private callable(signature: ts.Signature, hint: string, way: Way): Type {
    const declaration = signature.getDeclaration() as ts.SignatureDeclaration | undefined;
    const isOpen = declaration?.parameters.some((parameter) => parameter.dotDotDotToken !== undefined) ?? false;
    const params = signature.parameters.map((parameter) => this.of(this.checker.getTypeOfSymbol(parameter), hint, way === "in" ? "out" : "in"));
    return { kind: "callable", params: isOpen ? null : params, result: this.result(signature.getReturnType(), hint) };
  }

  private union(type: ts.UnionType, hint: string, way: Way): Type {
    const options: Type[] = [];
    const values: Scalar[] = [];
    for (const option of type.types) {
      const term = this.of(option, hint, way);
      if (term.kind === "literal") values.push(...term.values);
      else if (!options.some((other) => JSON.stringify(other) === JSON.stringify(term))) options.push(term);
    }
    if (values.includes(true) && values.includes(false)) {
      options.unshift({ kind: "bool" });
      values.splice(0, values.length, ...values.filter((value) => typeof value !== "boolean"));
    }
    if (values.length > 0) options.unshift({ kind: "literal", values });
    if (options.some(({ kind }) => kind === "any")) return { kind: "any" };
    // As people write it.
    options.sort((one, other) => Number(one.kind === "none") - Number(other.kind === "none"));
    const [only] = options;
    return only !== undefined && options.length === 1 ? only : { kind: "union", options };
  }

  private primitive(type: ts.IntersectionType): Type | undefined {
    for (const part of type.types) {
      const term = this.plain(part);
      if (term !== undefined && term.kind !== "any") return term;
    }
    return undefined;
  }

  private branded(type: ts.IntersectionType, name: string): Type {
    const primitive = this.primitive(type) ?? this.unknown(type);
    return primitive.kind === "float" && INTEGERS.has(name) ? { kind: "int" } : primitive;
  }

  private name(type: ts.Type, wanted: string, symbol: ts.Symbol | undefined): Type {
    let name = wanted;
    for (let number = 2; this.taken.has(name); number++) name = `${wanted}${number}`;
    this.taken.add(name);
    this.names.set(type, name);
    this.define(type, name, symbol);
    return { kind: "ref", name };
  }

  /** Its place is kept first: it may contain itself. */
  private define(type: ts.Type, name: string, symbol: ts.Symbol | undefined): void {
    const doc = symbol === undefined ? null : this.docs.of(symbol);
    if (this.isEnum(type)) {
      this.named.push({ name, doc, shape: "enum", members: this.members(type.symbol) });
      return;
    }
    const isRecord = this.isRecord(type);
    const fields: Field[] = [];
    const entry: NamedType = isRecord
      ? { name, doc, shape: "interface", fields }
      : { name, doc, shape: "alias", type: { kind: "any" } };
    this.named.push(entry);
    if (entry.shape === "alias") entry.type = this.unaliased(type, name);
    else fields.push(...this.checker.getPropertiesOfType(type).map((property) => this.field(property, name)));
  }

  private unaliased(type: ts.Type, hint: string): Type {
    return type.isUnion() ? this.union(type, hint, "out") : this.plain(type) ?? this.object(type, hint, "out");
  }

  private field(property: ts.Symbol, owner: string): Field {
    const isOptional = (property.flags & this.api.SymbolFlags.Optional) !== 0;
    const type = this.checker.getTypeOfSymbol(property);
    const term = this.of(isOptional ? this.withoutUndefined(type) : type, owner + pascal(property.name), "out");
    return { name: property.name, type: term, optional: isOptional, doc: this.docs.of(property) };
  }

  private members(symbol: ts.Symbol): { name: string; value: string | number }[] {
    const members = (symbol.declarations ?? []).filter((one) => this.api.isEnumDeclaration(one)).flatMap((one) => [...one.members]);
    return members.map((member) => ({ name: member.name.getText().replace(/^["']|["']$/g, ""), value: this.checker.getConstantValue(member) ?? 0 }));
  }

  /** Whether it is an object with fields and nothing else. */
  private isRecord(type: ts.Type): boolean {
    const isObject = (type.flags & this.api.TypeFlags.Object) !== 0 || type.isIntersection();
    if (!isObject || this.checker.isArrayType(type) || this.checker.isTupleType(type)) return false;
    const symbol = type.getSymbol();
    if (symbol !== undefined && (symbol.flags & this.api.SymbolFlags.Class) !== 0) return false;
    const isLibrarys = symbol !== undefined && !this.isOfUser(symbol) && (symbol.flags & this.api.SymbolFlags.Interface) !== 0;
    const hasSignatures = type.getCallSignatures().length + type.getConstructSignatures().length > 0;
    return !isLibrarys && !hasSignatures && this.checker.getPropertiesOfType(type).length > 0;
  }

  private isEnum(type: ts.Type): boolean {
    const symbol = type.getSymbol();
    return symbol !== undefined && (symbol.flags & this.api.SymbolFlags.Enum) !== 0 && (type.flags & this.api.TypeFlags.EnumLike) !== 0;
  }

  /** Of a Promise, what it is resolved with; undefined where it is none. */
  private awaited(type: ts.Type): ts.Type | undefined {
    const symbol = type.getSymbol();
    if (symbol !== undefined && PROMISES.has(symbol.name) && !this.isOfUser(symbol)) return this.checker.getAwaitedType(type);
    return type.isUnion() && type.types.some((option) => this.awaited(option) !== undefined) ? this.checker.getAwaitedType(type) : undefined;
  }

  /** Whether somebody else than TypeScript's and Node's own libraries declares it. */
  private isOfUser(symbol: ts.Symbol): boolean {
    const files = (symbol.declarations ?? []).map((declaration) => declaration.getSourceFile());
    return !files.some((file) => this.program.isSourceFileDefaultLibrary(file) || /[\\/]node_modules[\\/]@types[\\/]node[\\/]/.test(file.fileName));
  }

  private isOfLibrary(symbol: ts.Symbol): boolean {
    return (symbol.declarations ?? []).some((one) => /[\\/](?:@shm-polyglot[\\/]protocol|shm_protocol[\\/]node)[\\/]/.test(one.getSourceFile().fileName));
  }

  private isAnyValue(symbol: ts.Symbol): boolean {
    return symbol.name === "Value" && this.isOfLibrary(symbol);
  }

  private unknown(type: ts.Type): Type {
    return { kind: "unknown", text: this.checker.typeToString(type) };
  }
}

/** `format_number` and `formatNumber` as `FormatNumber`. */
export function pascal(name: string): string {
  return name.split(/[^A-Za-z0-9]+/).map((part) => part.slice(0, 1).toUpperCase() + part.slice(1)).join("");
}
