// How a JavaScript engine inside Python makes and times its calls to Python: `embedded.measure`.
// Such an engine has no clock finer than a millisecond and no sleep. It is given Python's.
"use strict";
{
  const MS_PER_S = 1e3;
  const US_PER_S = 1e6;
  const NS_PER_S = 1e9;
  const MOST_ERRORS = 100;
  const CLOCK_READINGS = 10_001;
  const MOST_ARGUMENTS = 8192;

  // Loops and `apply`, because `from`, `every` and `...` take many times as long for a mebibyte.

  /** Bytes from a text that has a character for each. */
  function toBytes(latin1) {
    const bytes = new Uint8Array(latin1.length);
    for (let at = 0; at < bytes.length; at++) bytes[at] = latin1.charCodeAt(at);
    return bytes;
  }

  /** The other way round. */
  function toLatin1(bytes) {
    const pieces = [];
    for (let at = 0; at < bytes.length; at += MOST_ARGUMENTS) {
      pieces.push(String.fromCharCode.apply(null, bytes.subarray(at, at + MOST_ARGUMENTS)));
    }
    return pieces.join("");
  }

  /** An argument or answer in an order: a value that is JavaScript's own, no proxy of one in Python. */
  function fromWire(wire) {
    return "latin1" in wire ? toBytes(wire.latin1) : wire.json;
  }

  /** The other way round. */
  function toWire(value) {
    return value instanceof Uint8Array ? { latin1: toLatin1(value) } : { json: value };
  }

  /** One call, untimed; argument and answer as JSON. */
  function once(call, argument) {
    return JSON.stringify(toWire(call(fromWire(JSON.parse(argument)))));
  }

  /** The same for a function that answers with a promise. */
  async function onceAwaited(call, argument) {
    return JSON.stringify(toWire(await call(fromWire(JSON.parse(argument)))));
  }

  function sameBytes(got, answer) {
    if (!(got instanceof Uint8Array) || got.length !== answer.length) return false;
    for (let at = 0; at < answer.length; at++) if (got[at] !== answer[at]) return false;
    return true;
  }

  /** Whether the answer is that, be it a proxy of something in Python. */
  function same(got, answer) {
    if (got === answer) return true;
    if (got === null || answer === null || typeof got !== "object" || typeof answer !== "object") return false;
    if (answer instanceof Uint8Array) return sameBytes(got, answer);
    const keys = Object.keys(answer);
    return (
      Array.isArray(got) === Array.isArray(answer) &&
      Object.keys(got).length === keys.length &&
      keys.every((key) => same(got[key], answer[key]))
    );
  }

  function shown(value) {
    return String(JSON.stringify(value)).slice(0, 200);
  }

  /** What is wrong with an answer; empty if nothing. */
  function wrongness(got, answer) {
    return same(got, answer) ? "" : `answered ${shown(got)}, not ${shown(answer)}`;
  }

  /** What embedded_javascript.py's `order_of` writes. */
  function readOrder(text) {
    const order = JSON.parse(text);
    return { ...order, argument: fromWire(order.argument), answer: fromWire(order.answer) };
  }

  /** As bench/driver.py's `measure`; gives the parts of its result as JSON. */
  function measure(call, order, clock, sleep) {
    const { argument, answer, calls, seconds, pause_s } = readOrder(order);
    const times_ns = [];
    let errors = 0;
    let first_error = "";
    const start = clock();
    const end = start + seconds;
    while (times_ns.length < calls && errors < MOST_ERRORS) {
      if (pause_s > 0) sleep(pause_s);
      const began = clock();
      if (began >= end) break;
      let took;
      let wrong;
      try {
        const got = call(argument);
        took = clock() - began;
        wrong = wrongness(got, answer);
      } catch (error) {
        took = clock() - began;
        wrong = `raised ${error}`;
      }
      if (wrong !== "") {
        errors++;
        first_error ||= `call ${times_ns.length} ${wrong}`;
      }
      times_ns.push(took * NS_PER_S);
    }
    return JSON.stringify({ times_ns, elapsed_ns: (clock() - start) * NS_PER_S, errors, first_error });
  }

  /** What two readings of the clock, one right after the other, give: microseconds, median. */
  function clockUs(clock) {
    const differences = [];
    for (let reading = 0; reading < CLOCK_READINGS; reading++) {
      const began = clock();
      differences.push(clock() - began);
    }
    return differences.sort((a, b) => a - b)[(CLOCK_READINGS - 1) / 2] * US_PER_S;
  }

  /**
   * Calls of a function that answers with a promise, one after the other, untimed; gives what went wrong as JSON.
   * It makes one call more than it is asked for: see mini_racer.py, which times them.
   */
  async function callAll(call, order) {
    const { argument, answer, calls, seconds } = readOrder(order);
    const end = Date.now() + seconds * MS_PER_S;
    let errors = 0;
    let first_error = "";
    for (let made = 0; made <= calls && errors < MOST_ERRORS; made++) {
      if (made > 1 && Date.now() >= end) break;
      let wrong;
      try {
        wrong = wrongness(await call(argument), answer);
      } catch (error) {
        wrong = `raised ${error}`;
      }
      if (wrong !== "") {
        errors++;
        first_error ||= `call ${made} ${wrong}`;
      }
    }
    return JSON.stringify({ errors, first_error });
  }

  globalThis.embedded = { once, onceAwaited, measure, clockUs, callAll, toBytes, toLatin1 };
}
