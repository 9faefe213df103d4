/** Which core a callee runs on that its caller makes itself; pinning.py has the rest. */

/** The command, on the core that is the callee's in this trial. */
export function calleeCommand(command: readonly string[]): string[] {
  const core = Number(process.env["BENCH_CALLEE_CORE"] ?? "-1");
  return core < 0 ? [...command] : ["taskset", "--cpu-list", String(core), ...command];
}
