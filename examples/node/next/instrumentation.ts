/** Next calls this once, before the server answers anything: Python can connect from then on. */
export async function register(): Promise<void> {
  if (process.env.NEXT_RUNTIME === "nodejs") await (await import("./bridge")).bridge();
}
