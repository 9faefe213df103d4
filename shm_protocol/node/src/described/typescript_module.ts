/** A TypeScript module's description, made from its sources without running them. */

import { createHash } from "node:crypto";
import { readFileSync, realpathSync } from "node:fs";
import { dirname } from "node:path";

import type ts from "typescript";

import { type Compiler, findCompiler } from "./compiler";
import type { ClassDescription, ModuleDescription } from "./description";
import { DocComments } from "./doc_comments";
import { Functions } from "./functions";
import { literalOf } from "./literals";
import { TypeTerms } from "./type_terms";

/** What a description is made from: it holds as long as these files have these hashes. */
export type Sources = [path: string, sha256: string][];

/** The module is no TypeScript; the message shows where. */
export class NotTypeScript extends Error {
  override name = "NotTypeScript";
}

/** @throws NoCompiler, NotTypeScript; Error for a file that cannot be read. */
export function describeTypeScript(path: string): { module: ModuleDescription; sources: Sources } {
  const file = realpathSync(path);
  const { api, manifest } = findCompiler(file);
  const { program, configs } = programOf(api, file);
  const source = program.getSourceFile(file);
  if (source === undefined) throw new NotTypeScript(`${file} is not among the files that TypeScript takes`);
  const faults = program.getSyntacticDiagnostics(source);
  if (faults.length > 0) {
    throw new NotTypeScript(api.formatDiagnostics(faults, { getCanonicalFileName: (name) => name, getCurrentDirectory: () => process.cwd(), getNewLine: () => "\n" }).trim());
  }
  const own = program.getSourceFiles().filter((one) => !program.isSourceFileDefaultLibrary(one) && !one.fileName.includes("/node_modules/"));
  const files = [...new Set([file, ...own.map(({ fileName }) => fileName), ...configs, manifest, ...OWN_FILES])];
  const module = new ModuleDescriber(api, program, source, file).describe();
  return { module, sources: files.map((name) => [name, sha256(name)]) };
}

/** Another describer may describe the same file differently. */
const OWN_FILES = ["compiler", "doc_comments", "functions", "literals", "type_terms", "typescript_module"].map((name) => require.resolve(`./${name}`));

function sha256(file: string): string {
  return createHash("sha256").update(readFileSync(file)).digest("hex");
}

/** The program of this one file, by the options of the nearest tsconfig.json, and the files that those are from. */
function programOf(api: Compiler, file: string): { program: ts.Program; configs: string[] } {
  const found = api.findConfigFile(dirname(file), (name) => api.sys.fileExists(name));
  const configs: string[] = [];
  let options: ts.CompilerOptions = {
    target: api.ScriptTarget.ESNext,
    module: api.ModuleKind.ESNext,
    moduleResolution: api.ModuleResolutionKind.Bundler,
    strict: true,
  };
  if (found !== undefined) {
    const read = (name: string): string | undefined => {
      configs.push(name);
      return api.sys.readFile(name);
    };
    const config = api.readConfigFile(found, read).config as unknown;
    // Only its options: which files it names is of no interest, and may take long to find out.
    const host = { ...api.sys, readFile: read, readDirectory: () => [] };
    options = api.parseJsonConfigFileContent(config, host, dirname(found)).options;
  }
  Object.assign(options, { noEmit: true, allowJs: true, skipLibCheck: true, allowImportingTsExtensions: true, composite: false, incremental: false });
  for (const name of ["tsBuildInfoFile", "outDir", "rootDir", "declaration", "declarationMap", "emitDeclarationOnly"]) Reflect.deleteProperty(options, name);
  return { program: api.createProgram([file], options), configs };
}

class ModuleDescriber {
  private readonly checker: ts.TypeChecker;
  private readonly docs: DocComments;
  private readonly terms: TypeTerms;
  private readonly functions: Functions;
  private readonly module: ModuleDescription;

  constructor(
    private readonly api: Compiler,
    program: ts.Program,
    private readonly source: ts.SourceFile,
    file: string,
  ) {
    this.checker = program.getTypeChecker();
    this.docs = new DocComments(api, this.checker);
    this.terms = new TypeTerms(api, this.checker, program, this.docs);
    this.functions = new Functions(api, this.checker, this.docs, this.terms);
    this.module = {
      language: "typescript", file, sha256: sha256(file), doc: this.docs.ofFile(source),
      functions: [], classes: [], instances: [], types: this.terms.named, constants: [], skipped: [],
    };
  }

  describe(): ModuleDescription {
    const symbol = this.checker.getSymbolAtLocation(this.source);
    const exported = symbol === undefined ? [] : this.checker.getExportsOfModule(symbol);
    const found = exported.map((one): [string, ts.Symbol] => [one.name, this.resolved(one)]);
    const { SymbolFlags } = this.api;
    // All names first: nothing that is made up may have one of them, and classes are known before they are met.
    for (const [name, one] of found) {
      this.terms.reserve(name);
      if ((one.flags & SymbolFlags.Class) !== 0 && !this.isError(one)) this.terms.addClass(one, name);
    }
    for (const [name, one] of found) this.addType(name, one);
    for (const [name, one] of found) this.addValue(name, one);
    return this.module;
  }

  private addType(name: string, symbol: ts.Symbol): void {
    const { SymbolFlags } = this.api;
    const isValue = (symbol.flags & (SymbolFlags.Variable | SymbolFlags.Function)) !== 0;
    const isType = (symbol.flags & (SymbolFlags.Interface | SymbolFlags.TypeAlias | SymbolFlags.Enum)) !== 0;
    if (!isType || (symbol.flags & SymbolFlags.Class) !== 0) return;
    const generic = this.checker.getDeclaredTypeOfSymbol(symbol);
    const parameters = (generic as ts.InterfaceType).typeParameters ?? generic.aliasTypeArguments;
    if ((parameters?.length ?? 0) > 0) {
      // It is described with what its parameters stand for, where it is used.
      this.module.skipped.push({ name, why: "a generic type" });
    } else {
      // A value of the same name is what Python can import.
      this.terms.addExported(symbol, isValue ? `${name}Type` : name);
    }
  }

  private addValue(name: string, symbol: ts.Symbol): void {
    const { SymbolFlags } = this.api;
    const is = (flags: ts.SymbolFlags): boolean => (symbol.flags & flags) !== 0;
    if (name.startsWith("_")) {
      if (is(SymbolFlags.Value)) this.skip(name, "private, as all names that begin with _");
    } else if (is(SymbolFlags.Class) && this.isError(symbol)) {
      this.skip(name, "a class of errors: it arrives as a RemoteError, or as a class of your own that both sides register (register_error)");
    } else if (is(SymbolFlags.Class)) {
      this.module.classes.push(this.describeClass(name, symbol));
    } else if (is(SymbolFlags.Function | SymbolFlags.Variable | SymbolFlags.Property | SymbolFlags.ExportValue)) {
      this.addVariable(name, symbol);
    } else if (is(SymbolFlags.ValueModule | SymbolFlags.NamespaceModule)) {
      this.skip(name, "a namespace");
    }
  }

  private addVariable(name: string, symbol: ts.Symbol): void {
    const type = this.checker.getTypeOfSymbol(symbol);
    if (type.getCallSignatures().length > 0) {
      this.module.functions.push(this.functions.describe(name, symbol, type));
      return;
    }
    const value = literalOf(this.api, symbol);
    if (value !== undefined) {
      this.module.constants.push({ name, type: this.terms.of(type, `${name}Type`, "out"), value: value.is, doc: this.docs.of(symbol) });
      return;
    }
    const methods = this.functions.methods(type, name);
    if (methods.length === 0) {
      this.skip(name, "a value that its source does not tell");
      return;
    }
    this.module.instances.push({ name, class: this.terms.classOf(type), methods, doc: this.docs.of(symbol) });
    for (const property of this.checker.getPropertiesOfType(type)) {
      const isPrivate = property.name.startsWith("_") || methods.some((method) => method.name === property.name);
      if (!isPrivate && this.functions.methods(this.checker.getTypeOfSymbol(property), name).length > 0) {
        this.skip(`${name}.${property.name}`, "an object within another: export it by itself");
      }
    }
  }

  private describeClass(name: string, symbol: ts.Symbol): ClassDescription {
    const made = this.checker.getTypeOfSymbol(symbol);
    const [signature] = made.getConstructSignatures();
    const isAbstract = (symbol.declarations ?? []).some(
      (one) => this.api.isClassDeclaration(one) && one.modifiers?.some(({ kind }) => kind === this.api.SyntaxKind.AbstractKeyword),
    );
    const init = signature === undefined || isAbstract ? null : (this.functions.overloads(signature, name)[0] ?? null);
    if (init !== null) init.result = { kind: "handle", name };
    const methods = this.functions.methods(this.checker.getDeclaredTypeOfSymbol(symbol), name).filter((method) => {
      if (method.name === "close") this.skip(`${name}.close`, "what a handle has of that name is its own, and releases it");
      return method.name !== "close";
    });
    return { name, doc: this.docs.of(symbol), init, methods, static: this.functions.methods(made, name) };
  }

  private isError(symbol: ts.Symbol): boolean {
    const isOne = (type: ts.Type): boolean => {
      if (type.getSymbol()?.name === "Error") return true;
      return type.isClassOrInterface() && this.checker.getBaseTypes(type).some(isOne);
    };
    return isOne(this.checker.getDeclaredTypeOfSymbol(symbol));
  }

  private skip(name: string, why: string): void {
    this.module.skipped.push({ name, why });
  }

  private resolved(symbol: ts.Symbol): ts.Symbol {
    return (symbol.flags & this.api.SymbolFlags.Alias) !== 0 ? this.checker.getAliasedSymbol(symbol) : symbol;
  }
}
