// Calls from JavaScript to Python, made and timed by GraalJS in the JVM; calls.py does the same the other way.
// Calls.java runs this file and gives each order, a line of JSON, to the function that `caller` makes.
/* global Java */
"use strict";

const NS_PER_S = 1e9;
const MOST_ERRORS = 100;
const CLOCK_READINGS = 10_001;
const CLOCK_WARMUP = 200_000;

// GraalJS has no performance.now() of its own accord, and no sleep.
const clock = Java.type("java.lang.System").nanoTime;
const sleep = Java.type("java.lang.Thread").sleep;
const { ISO_8859_1 } = Java.type("java.nio.charset.StandardCharsets");

/** An argument or answer of an order, as bench/peers/embedded_javascript.py writes it. */
function fromWire(value) {
  if (!("latin1" in value)) return value.json;
  // Java encodes, because a loop over a mebibyte takes seconds while it is interpreted; the copy is JavaScript's own.
  return new Uint8Array(new ArrayBuffer(ISO_8859_1.encode(value.latin1))).slice();
}

/** The other way round. */
function toWire(value) {
  return value instanceof Uint8Array
    ? { latin1: Array.from(value, (byte) => String.fromCharCode(byte)).join("") }
    : { json: value };
}

/** An answer as JSON can write it: a dict of Python is a proxy that looks like a Map, a list one like an Array. */
function plain(value) {
  if (Array.isArray(value)) return Array.from(value, plain);
  if (value instanceof Map) return Object.fromEntries(Array.from(value, ([key, item]) => [key, plain(item)]));
  return value;
}

/** Keys in another order would not be the same: Python keeps the order in which its function writes them. */
function same(got, answer) {
  if (got === answer) return true;
  if (answer instanceof Uint8Array) return got.length === answer.length && answer.every((byte, at) => got[at] === byte);
  return JSON.stringify(plain(got)) === JSON.stringify(answer);
}

function shown(value) {
  return String(JSON.stringify(plain(value))).slice(0, 200);
}

/** What two readings of the clock, one right after the other, give: microseconds, median. */
function clockUs() {
  const differences = [];
  for (let reading = 0; reading < CLOCK_WARMUP + CLOCK_READINGS; reading++) {
    const began = clock();
    differences.push(clock() - began);
  }
  differences.splice(0, CLOCK_WARMUP);
  return differences.sort((a, b) => a - b)[Math.floor(CLOCK_READINGS / 2)] / 1000;
}

/** As bench/driver.ts does it, but that a call answers at once. */
function measure(function_, order) {
  const argument = fromWire(order.argument);
  const answer = order.answer === null ? argument : fromWire(order.answer);
  const { calls, pause_s } = order;
  const times = [];
  let errors = 0;
  let firstError = "";
  const start = clock();
  const end = start + order.seconds * NS_PER_S;
  while (times.length < calls && errors < MOST_ERRORS) {
    if (pause_s > 0) sleep(pause_s * 1000);
    const began = clock();
    if (began >= end) break;
    let took;
    let wrong;
    try {
      const got = function_(argument);
      took = clock() - began;
      wrong = same(got, answer) ? "" : `answered ${shown(got)}, not ${shown(answer)}`;
    } catch (error) {
      took = clock() - began;
      wrong = `raised ${error}`;
    }
    if (wrong !== "") {
      errors++;
      firstError ||= `call ${times.length} ${wrong}`;
    }
    times.push(took);
  }
  return { times_ns: times, elapsed_ns: clock() - start, errors, first_error: firstError };
}

function call(function_, order) {
  try {
    return { answer: toWire(plain(function_(fromWire(order.argument)))) };
  } catch (error) {
    return { raised: String(error) };
  }
}

/** The function that obeys. `functions` is Python's dict of them. */
function caller(functions) {
  return (line) => {
    const order = JSON.parse(line);
    switch (order.do) {
      case "measure":
        return JSON.stringify(measure(functions.get(order.function), order));
      case "call":
        return JSON.stringify(call(functions.get(order.function), order));
      case "clock":
        return JSON.stringify({ clock_us: clockUs() });
      default:
        throw new Error(`no order ${order.do}; there are measure, call and clock`);
    }
  };
}

globalThis.caller = caller;
