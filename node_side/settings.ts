/** What the environment sets for the TypeScript side. The library has its own settings. */

/** An environment variable has a value that cannot be used; the message names it, the value and the range. */
export class SettingError extends Error {}

export interface Settings {
  /** SHM_POLYGLOT_NODE_HOST: the address of the HTTP server. */
  host: string;
  /** SHM_POLYGLOT_NODE_PORT: its port. */
  port: number;
  /** SHM_POLYGLOT_CALL_TIMEOUT, there in seconds: how long a call to Python may take before the client gets a 504. */
  callTimeoutMs: number;
  /** SHM_POLYGLOT_REQUEST_TIMEOUT, there in seconds: how long an HTTP client may take to send a request. */
  requestTimeoutMs: number;
}

/** What Python's settings take as well. */
const INTEGER = /^[0-9]{1,15}$/;
const DECIMAL = /^(?:[0-9]{1,15}(?:\.[0-9]{1,15})?|\.[0-9]{1,15})$/;

/** Reads the settings; a variable that is empty counts as unset. Throws SettingError. */
export function loadSettings(environment: NodeJS.ProcessEnv): Settings {
  return {
    host: environment["SHM_POLYGLOT_NODE_HOST"] || "127.0.0.1",
    port: numberFrom(environment, "SHM_POLYGLOT_NODE_PORT", 3000, 1, 65535, INTEGER),
    callTimeoutMs: 1000 * numberFrom(environment, "SHM_POLYGLOT_CALL_TIMEOUT", 5, 0.001, 3600, DECIMAL),
    requestTimeoutMs: 1000 * numberFrom(environment, "SHM_POLYGLOT_REQUEST_TIMEOUT", 10, 0.1, 3600, DECIMAL),
  };
}

function numberFrom(
  environment: NodeJS.ProcessEnv,
  name: string,
  fallback: number,
  low: number,
  high: number,
  form: RegExp,
): number {
  const text = environment[name];
  if (!text) {
    return fallback;
  }
  const value = form.test(text) ? Number(text) : NaN;
  if (!(value >= low && value <= high)) {
    const kind = form === INTEGER ? "an integer" : "a number";
    throw new SettingError(`${name}=${quoted(text)}: must be ${kind} from ${low} to ${high}`);
  }
  return value;
}

/** In quotes, and printable in any terminal. */
function quoted(text: string): string {
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
