/** The last lines of what a process has written. */

const KEPT_LINES = 20;
const LINE_CHARACTERS = 2000;

/** Keeps the last of what is added. */
export class LastLines {
  private lines: string[] = [];
  private begun = "";

  /** Add what has come, which may end within a line. */
  add(bytes: Buffer): void {
    const lines = (this.begun + bytes.toString()).split("\n");
    this.begun = (lines.pop() ?? "").slice(-LINE_CHARACTERS);
    this.lines = [...this.lines, ...lines.map((line) => line.slice(0, LINE_CHARACTERS))].slice(-KEPT_LINES);
  }

  /** At most so many lines, without a line end behind the last. */
  text(): string {
    const lines = this.begun === "" ? this.lines : [...this.lines, this.begun];
    return lines.slice(-KEPT_LINES).join("\n").trim();
  }
}
