/** Doc comments as text: what is said, then its parameters, result and errors, one a line. */

import type ts from "typescript";

import type { Compiler } from "./compiler";

export class DocComments {
  constructor(
    private readonly api: Compiler,
    private readonly checker: ts.TypeChecker,
  ) {}

  /** Of what a symbol stands for. */
  of(symbol: ts.Symbol): string | null {
    return this.joined(symbol.getDocumentationComment(this.checker), symbol.getJsDocTags(this.checker));
  }

  /** Of one way to call a function. */
  ofSignature(signature: ts.Signature): string | null {
    return this.joined(signature.getDocumentationComment(this.checker), signature.getJsDocTags());
  }

  /** What stands at the head of a file and is not about its first statement. */
  ofFile(source: ts.SourceFile): string | null {
    const [first] = source.statements;
    if (first === undefined) return null;
    const comments = this.api.getJSDocCommentsAndTags(first).filter((part) => this.api.isJSDoc(part));
    const [head] = comments;
    if (head === undefined) return null;
    const isOwn = comments.length > 1 || this.api.isImportDeclaration(first) || this.isMarked(head);
    return isOwn ? this.api.getTextOfJSDocComment(head.comment)?.trim() || null : null;
  }

  private isMarked(comment: ts.JSDoc): boolean {
    return comment.tags?.some((tag) => ["module", "packageDocumentation", "fileoverview", "file"].includes(tag.tagName.text)) ?? false;
  }

  private joined(parts: ts.SymbolDisplayPart[], tags: ts.JSDocTagInfo[]): string | null {
    const lines = tags.map((tag) => {
      const text = this.api.displayPartsToString(tag.text).trim();
      if (tag.name === "param") return text === "" ? "" : text.replace(/^(\S+)\s+(?:-\s+)?(?=\S)/, "$1: ");
      if (tag.name === "returns" || tag.name === "return") return text === "" ? "" : `Returns ${text}`;
      if (tag.name === "throws") return text === "" ? "" : `Raises ${text}`;
      if (tag.name === "deprecated") return `Deprecated${text === "" ? "." : `: ${text}`}`;
      return "";
    });
    const said = this.api.displayPartsToString(parts).trim();
    return [said, lines.filter((line) => line !== "").join("\n")].filter((part) => part !== "").join("\n\n") || null;
  }
}
