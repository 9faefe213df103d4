/** The package's entry: the compiled library, or what to do where it was installed from a checkout that is not built. */
"use strict";

try {
  module.exports = require("./dist/index.js");
} catch (error) {
  if (error.code !== "MODULE_NOT_FOUND" || !String(error.message).includes("./dist/index.js")) throw error;
  throw new Error(
    `@shm-polyglot/protocol in ${__dirname} is a checkout that is not built: run "make setup" at its top, ` +
      `or run "make dist" there and install dist/shm-polyglot-protocol-*.tgz instead`,
    { cause: error },
  );
}
