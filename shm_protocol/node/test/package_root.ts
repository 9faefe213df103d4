/** The package's folder, as the compiled tests see it. */

import { join } from "node:path";

export const packageRoot = join(__dirname, "..", "..", "..");
