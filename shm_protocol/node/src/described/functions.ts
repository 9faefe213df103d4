/** How functions are called, as the overloads of a description. */

import type ts from "typescript";

import type { Compiler } from "./compiler";
import type { Field, FunctionDescription, Overload, Parameter, Type } from "./description";
import type { DocComments } from "./doc_comments";
import { literalOfExpression } from "./literals";
import { pascal, type TypeTerms } from "./type_terms";

/** What can be a parameter's name in Python, as it is or with a `_` behind it. */
const IDENTIFIER = /^[\p{ID_Start}_][\p{ID_Continue}]*$/u;

export class Functions {
  constructor(
    private readonly api: Compiler,
    private readonly checker: ts.TypeChecker,
    private readonly docs: DocComments,
    private readonly terms: TypeTerms,
  ) {}

  describe(name: string, symbol: ts.Symbol, type: ts.Type, owner = ""): FunctionDescription {
    const signatures = type.getCallSignatures();
    const isAsync = signatures.some((signature) => this.terms.isPromised(signature.getReturnType()));
    const doc = this.docs.of(symbol) ?? (signatures[0] === undefined ? null : this.docs.ofSignature(signatures[0]));
    return { name, doc, async: isAsync, overloads: signatures.flatMap((signature) => this.overloads(signature, pascal(owner) + pascal(name))) };
  }

  /** The methods of a type that are its user's, and public. */
  methods(type: ts.Type, owner: string): FunctionDescription[] {
    return this.checker.getPropertiesOfType(type).flatMap((property) => {
      const { name } = property;
      if (name.startsWith("_") || name === "constructor" || name === "prototype" || this.isHidden(property)) return [];
      const of = this.checker.getTypeOfSymbol(property);
      return of.getCallSignatures().length === 0 ? [] : [this.describe(name, property, of, owner)];
    });
  }

  /**
   * The ways to call one signature. Where its last parameter is an object with fields there are two: the fields by name, or
   * the object.
   */
  overloads(signature: ts.Signature, owner: string): Overload[] {
    const given = signature.getReturnType();
    const result = this.terms.sendable(this.terms.result(given, `${owner}Result`), given);
    const params = this.parameters(signature, owner);
    const last = params.at(-1);
    if (last === undefined || last.kind !== "either") return [{ params, result }];
    const fields = this.terms.fieldsOf(last.type);
    const before = params.slice(0, -1);
    const keywords = fields === undefined ? undefined : asKeywords(fields, before);
    if (keywords === undefined) return [{ params, result }];
    return [{ params: [...before, ...keywords], result }, { params, result }];
  }

  private parameters(signature: ts.Signature, owner: string): Parameter[] {
    const taken = new Set<string>();
    return signature.parameters.map((symbol, index) => {
      const declaration = symbol.valueDeclaration;
      const written = declaration !== undefined && this.api.isParameter(declaration) ? declaration : undefined;
      let name = IDENTIFIER.test(symbol.name) && !symbol.name.startsWith("__") ? symbol.name : index === signature.parameters.length - 1 ? "options" : `value${index}`;
      while (taken.has(name)) name += "_";
      taken.add(name);
      const type = this.checker.getTypeOfSymbol(symbol);
      const hint = owner + pascal(name);
      if (written?.dotDotDotToken !== undefined) return { name, type: this.itemOf(type, hint), kind: "var", optional: true };
      const optional = written !== undefined && this.checker.isOptionalParameter(written);
      const term = this.terms.of(optional ? this.terms.withoutUndefined(type) : type, hint, "in");
      const parameter: Parameter = { name, type: term, kind: "either", optional };
      const value = written?.initializer === undefined ? undefined : literalOfExpression(this.api, written.initializer);
      return value === undefined ? parameter : { ...parameter, default: value.is };
    });
  }

  private itemOf(type: ts.Type, hint: string): Type {
    const term = this.terms.of(type, hint, "in");
    if (term.kind === "list") return term.item;
    return { kind: "any" };
  }

  private isHidden(symbol: ts.Symbol): boolean {
    const { ModifierFlags } = this.api;
    return (symbol.declarations ?? []).some((one) => {
      const hidden = (this.api.getCombinedModifierFlags(one) & (ModifierFlags.Private | ModifierFlags.Protected)) !== 0;
      const name = this.api.getNameOfDeclaration(one);
      const isNamed = name !== undefined && !this.api.isPrivateIdentifier(name) && !this.api.isComputedPropertyName(name);
      return hidden || !isNamed || /[\\/]typescript[^\\/]*[\\/]lib[\\/]lib\./.test(one.getSourceFile().fileName);
    });
  }
}

/** The fields as keyword arguments; undefined where one that is needed cannot be one. */
function asKeywords(fields: Field[], before: Parameter[]): Parameter[] | undefined {
  const taken = new Set(before.map(({ name }) => name));
  const keywords: Parameter[] = [];
  for (const { name, type, optional } of fields) {
    if (IDENTIFIER.test(name) && !taken.has(name)) keywords.push({ name, type, kind: "keyword", optional });
    else if (!optional) return undefined;
  }
  return keywords.length === 0 || before.some(({ kind }) => kind === "var") ? undefined : keywords;
}
