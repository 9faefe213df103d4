/** Strings that come again and again: keys and method names. Direct-mapped; only ASCII of up to `LONGEST` bytes. */
export class StringCache {
  static readonly LONGEST = 48;
  private static readonly SLOTS = 512;
  private readonly slots: string[] = new Array<string>(StringCache.SLOTS).fill("");

  /** The string of these bytes, or undefined when it is not here. `length` is 1 to LONGEST. */
  get(buffer: Buffer, start: number, length: number): string | undefined {
    const text = this.slots[StringCache.slot(buffer, start, length)];
    if (text?.length !== length) return undefined;
    for (let index = 0; index < length; index++) {
      if (text.charCodeAt(index) !== buffer[start + index]) return undefined;
    }
    return text;
  }

  put(buffer: Buffer, start: number, length: number, text: string): void {
    if (text.length === length) this.slots[StringCache.slot(buffer, start, length)] = text;
  }

  private static slot(buffer: Buffer, start: number, length: number): number {
    const first = buffer[start] ?? 0;
    const middle = buffer[start + (length >> 1)] ?? 0;
    const last = buffer[start + length - 1] ?? 0;
    return (first + middle * 7 + last * 61 + length * 13) & (StringCache.SLOTS - 1);
  }
}
