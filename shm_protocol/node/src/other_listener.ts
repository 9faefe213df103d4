/** Who listens at a path already: asked of that process by a handshake, for an error that people read. */

import { connect, type Socket } from "node:net";

import { type Binding, socketDescriptor } from "./binding";
import { clearTimeout, setTimeout } from "./clock";
import { decodeAnswer, encodeHello, type Welcome } from "./handshake";
import { LIBRARY_VERSION } from "./package_info";
import { projectFolder, shown } from "./project";

/** It answers at once, unless something holds its event loop; then it is named without what it would say. */
const ANSWER_MS = 1000;
/** More than a handshake has. */
const MAX_ANSWER_BYTES = 8192;

/** E.g. `another process (pid 123, "server.ts" of the project "/home/me/shop")`, as much as can be known. Never rejects. */
export async function nameOtherListener(path: string, binding: Binding | Error): Promise<string> {
  const { pid, welcome } = await ask(path, binding);
  const known = [
    ...(pid > 0 ? [`pid ${pid}`] : []),
    ...(welcome === undefined ? [] : [shown(welcome.name) + (welcome.project === undefined ? "" : ` of the project ${shown(welcome.project)}`)]),
  ];
  const who = pid === process.pid ? "this very process" : "another process";
  return known.length === 0 ? who : `${who} (${known.join(", ")})`;
}

/** As a client that goes away again. */
function ask(path: string, binding: Binding | Error): Promise<{ pid: number; welcome: Welcome | undefined }> {
  return new Promise((resolve) => {
    const socket = connect(path);
    let pid = 0;
    let bytes = Buffer.alloc(0);
    const end = (welcome?: Welcome): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ pid, welcome });
    };
    const timer = setTimeout(end, ANSWER_MS);
    socket.once("connect", () => {
      pid = pidAt(socket, binding);
      socket.write(encodeHello(hello()));
    });
    socket.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      try {
        const answer = decodeAnswer(bytes)?.answer;
        if (answer !== undefined) end("code" in answer ? undefined : answer);
        else if (bytes.length > MAX_ANSWER_BYTES) end();
      } catch {
        // Something else than this library listens there.
        end();
      }
    });
    socket.on("close", () => { end(); });
    // Followed by "close".
    socket.on("error", () => undefined);
  });
}

function hello(): Parameters<typeof encodeHello>[0] {
  const project = projectFolder();
  return {
    role: "client",
    transport: "socket",
    name: `a process that would listen here, pid ${process.pid}`,
    language: `node ${process.versions.node}`,
    library: LIBRARY_VERSION,
    maxMessage: Number.MAX_SAFE_INTEGER,
    ...(project === undefined ? {} : { project }),
  };
}

function pidAt(socket: Socket, binding: Binding | Error): number {
  // Node itself cannot ask for it.
  if (binding instanceof Error) return 0;
  try {
    return binding.peerPid(socketDescriptor(socket));
  } catch {
    return 0;
  }
}
