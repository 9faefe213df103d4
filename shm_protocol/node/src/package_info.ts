/** The library's own version. It stands here, because a bundled build has no package.json of its own any more. */

/** e.g. `"0.1.0"`; held to package.json by a test. */
export const LIBRARY_VERSION = "0.1.0";

/** Under the name that it had, by which packaging checks look for it. */
export { LIBRARY_VERSION as version };
