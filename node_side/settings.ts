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

const WHOLE = /^\d+$/;
const DECIMAL = /^\d*\.?\d+$/;

/** Reads the settings. Throws SettingError. */
export function loadSettings(environment: NodeJS.ProcessEnv): Settings {
  return {
    host: environment["SHM_POLYGLOT_NODE_HOST"] ?? "127.0.0.1",
    port: numberFrom(environment, "SHM_POLYGLOT_NODE_PORT", 3000, 1, 65535, WHOLE),
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
  if (text === undefined) {
    return fallback;
  }
  const value = form.test(text) ? Number(text) : NaN;
  if (!(value >= low && value <= high)) {
    throw new SettingError(`${name}=${JSON.stringify(text)}: must be a number from ${low} to ${high}`);
  }
  return value;
}
