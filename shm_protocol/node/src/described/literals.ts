/** Values that a source says outright: constants, and the defaults of parameters. */

import type ts from "typescript";

import type { Compiler } from "./compiler";

/** In an object, because the value may be undefined's neighbour null. */
interface Literal {
  is: unknown;
}

/** What a constant is; undefined where its source does not say. */
export function literalOf(api: Compiler, symbol: ts.Symbol): Literal | undefined {
  const declaration = symbol.valueDeclaration;
  if (declaration === undefined || !api.isVariableDeclaration(declaration) || declaration.initializer === undefined) return undefined;
  const list = declaration.parent;
  // Another value may have been put in its place.
  if ((list.flags & api.NodeFlags.Const) === 0) return undefined;
  return literalOfExpression(api, declaration.initializer);
}

export function literalOfExpression(api: Compiler, written: ts.Expression): Literal | undefined {
  let node = written;
  while (api.isAsExpression(node) || api.isSatisfiesExpression(node) || api.isParenthesizedExpression(node)) node = node.expression;
  if (api.isStringLiteralLike(node)) return { is: node.text };
  if (api.isNumericLiteral(node)) return { is: Number(node.text) };
  if (api.isPrefixUnaryExpression(node) && node.operator === api.SyntaxKind.MinusToken && api.isNumericLiteral(node.operand)) {
    return { is: -Number(node.operand.text) };
  }
  if (node.kind === api.SyntaxKind.TrueKeyword) return { is: true };
  if (node.kind === api.SyntaxKind.FalseKeyword) return { is: false };
  if (node.kind === api.SyntaxKind.NullKeyword) return { is: null };
  if (api.isArrayLiteralExpression(node)) {
    const items = node.elements.map((element) => literalOfExpression(api, element));
    return items.includes(undefined) ? undefined : { is: items.map((item) => item?.is) };
  }
  return api.isObjectLiteralExpression(node) ? literalOfObject(api, node) : undefined;
}

function literalOfObject(api: Compiler, node: ts.ObjectLiteralExpression): Literal | undefined {
  const entries: [string, unknown][] = [];
  for (const property of node.properties) {
    if (!api.isPropertyAssignment(property)) return undefined;
    const value = literalOfExpression(api, property.initializer);
    const isNamed = api.isIdentifier(property.name) || api.isStringLiteralLike(property.name) || api.isNumericLiteral(property.name);
    if (value === undefined || !isNamed) return undefined;
    entries.push([property.name.text, value.is]);
  }
  return { is: Object.fromEntries(entries) };
}
