// The pages and the reference of the TypeScript library: `npm run docs`, a part of `make docs`.

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, URL } from "node:url";

import { Converter, JSX } from "typedoc";

const root = fileURLToPath(new URL("../../", import.meta.url));
const BUILT = new Set(["node_modules", "build", "dist"]);

/** All pages of the repository, but for what was installed or built there. */
function* pagesIn(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.name.startsWith(".") || BUILT.has(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* pagesIn(path);
    else if (entry.name.endsWith(".md")) yield path;
  }
}

const index = join(root, "docs", "README.md");

/** A page is called what its first heading says: several files are a README.md. */
function nameByHeading(app) {
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_, document) => {
    const heading = /^# (.*)$/m.exec(document.content.map((part) => part.text).join(""));
    if (heading !== null) document.name = heading[1];
  });
}

/** The way to either reference: beside every page, and on the first one, which knows no page that is not TypeDoc's. */
function linkToReferences(app) {
  const references = { Python: "python/shm_protocol.html", TypeScript: "modules/_shm-polyglot_protocol.html" };
  const links = (context, text) =>
    Object.entries(references).map(([language, url]) => JSX.createElement("p", null, JSX.createElement("a", { href: context.relativeURL(url) }, text(language))));
  app.renderer.hooks.on("sidebar.begin", (context) => JSX.createElement("div", null, ...links(context, (language) => `${language} reference`)));
  app.renderer.hooks.on("content.begin", (context) =>
    context.page.url === "index.html" ? JSX.createElement("div", null, ...links(context, (language) => `Reference of the ${language} library`)) : JSX.createElement("span", null),
  );
}

/** @type {Partial<import("typedoc").TypeDocOptions>} */
export default {
  name: "shm-polyglot",
  entryPoints: ["../../shm_protocol/node/src/index.ts"],
  tsconfig: "../../shm_protocol/node/tsconfig.json",
  readme: index,
  projectDocuments: Array.from(pagesIn(root)).filter((page) => page !== index).sort(),
  out: "../../build/docs",
  plugin: [nameByHeading, linkToReferences],
  treatWarningsAsErrors: true,
  validation: { notDocumented: true },
  // Of a type that is made: what it is for stands with its name.
  intentionallyNotDocumented: ["@shm-polyglot/protocol.Disposing.__type.dispose"],
  highlightLanguages: ["bash", "console", "diff", "dockerfile", "html", "ini", "javascript", "json", "python", "sh", "text", "toml", "typescript", "yaml"],
  excludeInternal: true,
  disableSources: true,
  sort: ["source-order"],
};
