/**
 * A module's description: one schema for Python's modules and TypeScript's, in JSON. Python's `described/description.py`
 * says what each part means.
 */

export type Scalar = string | number | boolean | null;

export type Type =
  | { kind: "none" | "bool" | "int" | "float" | "str" | "bytes" | "any" | "datetime" }
  | { kind: "list"; item: Type }
  | { kind: "tuple"; items: Type[] }
  | { kind: "dict"; key: Type; value: Type }
  | { kind: "union"; options: Type[] }
  | { kind: "literal"; values: Scalar[] }
  | { kind: "array"; dtype: string | null }
  | { kind: "iterator"; item: Type; async: boolean }
  | { kind: "callable"; params: Type[] | null; result: Type }
  | { kind: "ref"; name: string }
  | { kind: "handle"; name: string }
  | { kind: "unknown"; text: string };

export interface Parameter {
  name: string;
  type: Type;
  kind: "positional" | "either" | "var" | "keyword" | "var_keyword";
  optional: boolean;
  default?: unknown;
}

export interface Overload {
  params: Parameter[];
  result: Type;
}

export interface FunctionDescription {
  name: string;
  doc: string | null;
  async: boolean;
  overloads: Overload[];
}

export interface ClassDescription {
  name: string;
  doc: string | null;
  init: Overload | null;
  methods: FunctionDescription[];
  static: FunctionDescription[];
}

export interface InstanceDescription {
  name: string;
  class: string | null;
  methods: FunctionDescription[];
  doc: string | null;
}

export interface Field {
  name: string;
  type: Type;
  optional: boolean;
  doc: string | null;
}

export type NamedType = { name: string; doc: string | null } & (
  | { shape: "interface" | "typed_dict" | "dataclass"; fields: Field[] }
  | { shape: "enum"; members: { name: string; value: string | number }[] }
  | { shape: "alias"; type: Type }
);

export interface Constant {
  name: string;
  type: Type;
  value: unknown;
  doc: string | null;
}

export interface ModuleDescription {
  language: "python" | "typescript";
  file: string;
  sha256: string;
  doc: string | null;
  functions: FunctionDescription[];
  classes: ClassDescription[];
  instances: InstanceDescription[];
  types: NamedType[];
  constants: Constant[];
  skipped: { name: string; why: string }[];
}
