import type { Logger } from "@shm-polyglot/protocol";

import { log } from "./log";

/** What Flask answers with a 400: see python_side/typescript_routes.py, where every argument comes from the request. */
const CLIENT_S_FAULT = /^(?:RangeError|TypeError): /;

/**
 * The library's log, in which a request that Intl refuses is no error of ours: its client is told of it, and the log gets a
 * line without a stack.
 */
export const bridgeLog: Logger = {
  info: (message, fields) => { log.info(message, fields); },
  warn: (message, fields) => { log.warn(message, fields); },
  error(message, fields = {}) {
    const { method, error } = fields;
    if (String(method).startsWith("typescript_utils.") && CLIENT_S_FAULT.test(String(error))) {
      log.info("a request was refused", { method: String(method), reason: String(error) });
    } else {
      log.error(message, fields);
    }
  },
};
