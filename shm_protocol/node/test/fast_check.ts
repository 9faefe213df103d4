/** fast-check, with the same cases in each run: what a fuzzer would find is found by `make fuzz`, not by a test's luck. */

import fc from "fast-check";

fc.configureGlobal({ seed: 20261127 });

export default fc;
