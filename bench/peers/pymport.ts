/** pymport: CPython's libpython in the Node process. It copies arguments, and answers on demand (`toJS`). */

import type { FunctionName } from "../workload";
import { embedding } from "./embedded_python";
import { inDirection, ROOT, type Stay } from "./in_node";
import type { Caller } from "./interface";

// What is used of the package, whose own types are `any` here.
interface PyObject {
  get(attribute: string): PyObject;
  call(...args: unknown[]): PyObject;
  toJS(): unknown;
}

interface Pymport {
  pymport: (module: string) => PyObject;
  pyval: (expression: string) => PyObject;
  PyObject: { memoryview(buffer: Buffer): PyObject };
}

function plain(value: PyObject): unknown {
  const answer = value.toJS();
  return answer instanceof Buffer ? new Uint8Array(answer.buffer, answer.byteOffset, answer.byteLength) : answer;
}

export function start(): Promise<Caller> {
  const { pymport, pyval, PyObject } = embedding("pymport") as Pymport;
  pymport("sys").get("path").get("append").call(ROOT);
  const half = pymport("bench.peers.in_node");
  const functions = half.get("functions").call();
  const kept = new Map<FunctionName, PyObject>();
  // For null pymport 1.5.1 gives away a reference to None that it does not own. Before Python 3.12, which has no
  // count of them, some thousand such calls end the process.
  const none = pyval("None");

  function functionNamed(name: FunctionName): PyObject {
    const known = kept.get(name) ?? functions.get(name);
    kept.set(name, known);
    return known;
  }

  /** An argument or answer for Python. Bytes are not copied, but seen in place. */
  function given(value: unknown): unknown {
    if (value === null) return none;
    if (value instanceof Uint8Array)
      return PyObject.memoryview(Buffer.from(value.buffer, value.byteOffset, value.byteLength));
    return value;
  }

  return Promise.resolve(
    inDirection(
      { call: (name, argument) => plain(functionNamed(name).call(given(argument))), stop: () => undefined },
      {
        measure: (function_, case_, calls, seconds) =>
          half
            .get("measure")
            .call((argument: PyObject) => given(function_(plain(argument))), case_, calls, seconds)
            .toJS() as Stay,
        clockUs: () => half.get("clock_us").call().toJS() as number,
      },
    ),
  );
}
