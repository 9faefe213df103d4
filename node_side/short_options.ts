/** The longest name of a locale, zone, currency and so on: what Intl says of a bad one repeats it. */
const MAX_OPTION = 255;

/** Throws RangeError for an option that no name of anything is as long as. */
export function requireShort(options: object): void {
  for (const [name, value] of Object.entries(options) as [string, unknown][]) {
    if (typeof value === "string" && value.length > MAX_OPTION) {
      throw new RangeError(`${name} must have at most ${MAX_OPTION} characters, this one has ${value.length}`);
    }
  }
}
