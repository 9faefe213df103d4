import type { Bridge } from "@shm-polyglot/protocol";

/** Counts the calls that Python has made to this process, also over connections that have ended. */
export class ServedCalls {
  private ofEnded = 0;

  constructor(private readonly bridge: Bridge) {
    bridge.on("disconnect", (connection) => {
      this.ofEnded += connection.served;
    });
  }

  get count(): number {
    return this.bridge.connections.reduce((sum, connection) => sum + connection.served, this.ofEnded);
  }
}
