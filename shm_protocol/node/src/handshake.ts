/**
 * The handshake: PROTOCOL.md section 2. Pure code over bytes, both sides of it, although Node only ever accepts.
 */

import type { Role, TransportKind } from "./connection_info";
import { ProtocolError, VersionMismatch } from "./errors";
import { MAX_EXPOSED } from "./frames";
import { MAX_PROJECT_CHARACTERS } from "./project";
import type { Value } from "./value_types";
import { Decoder, encode } from "./values";

export const PROTOCOL_MAJOR = 1;
export const PROTOCOL_MINOR = 2;
/** How long a dialer may take for its hello, in milliseconds. */
export const HANDSHAKE_TIMEOUT_MS = 5000;

const MAGIC = Buffer.from("SHMP", "latin1");
const HEADER_BYTES = 12;
const MAX_BODY_BYTES = 4096;
export const MAX_NAME_CHARACTERS = 128;
const TOKEN = /^[0-9a-f]{32}$/;
const SEGMENT_NAME = /^\/shm-polyglot-[0-9a-f]{32}$/;

/** What the dialer says first. */
export interface Hello {
  role: Role;
  transport: TransportKind;
  name: string;
  language: string;
  library: string;
  /** The largest message, in bytes, that the dialer accepts. */
  maxMessage: number;
  /** The POSIX name of the segment, with the `shm` transport. */
  segment?: string;
  /** How many functions it is about to name; who does not say names none. */
  exposes?: number;
  /** False for a client that looks for calls only while one of its own waits. */
  attends?: boolean;
  /** The folder of its project, for people. */
  project?: string;
}

/** What the acceptor says of itself. */
export interface Welcome {
  name: string;
  language: string;
  library: string;
  maxMessage: number;
  /** The folder of its project, for people. */
  project?: string;
  /** What a second socket, for descriptors, is to name; undefined: it takes none. */
  descriptors?: string;
}

export interface Refusal {
  code: string;
  message: string;
}

/** One message of the handshake, and how many bytes of the input it took. */
interface Packet {
  major: number;
  minor: number;
  body: Body;
  bytes: number;
}

type Body = ReadonlyMap<string, Value>;

export function encodeHello(hello: Hello): Buffer {
  return pack({
    role: hello.role,
    transport: hello.transport,
    name: hello.name,
    language: hello.language,
    library: hello.library,
    max_message: hello.maxMessage,
    ...(hello.segment === undefined ? {} : { segment: hello.segment }),
    ...(hello.exposes === undefined ? {} : { exposes: hello.exposes }),
    ...(hello.attends === undefined ? {} : { attends: hello.attends }),
    ...(hello.project === undefined ? {} : { project: hello.project }),
  });
}

export function encodeWelcome(welcome: Welcome): Buffer {
  return pack({
    status: "welcome",
    name: welcome.name,
    language: welcome.language,
    library: welcome.library,
    max_message: welcome.maxMessage,
    ...(welcome.project === undefined ? {} : { project: welcome.project }),
    ...(welcome.descriptors === undefined ? {} : { descriptors: welcome.descriptors }),
  });
}

/** The hello of a second socket. */
export function encodeDescriptorsHello(token: string): Buffer {
  return pack({ role: "descriptors", token });
}

export function encodeRefusal(refusal: Refusal): Buffer {
  // A body has its limit: a message may name a path.
  return pack({ status: "refused", code: refusal.code, message: refusal.message.toWellFormed().slice(0, 1000) });
}

/**
 * The hello at the start of `bytes` and the minor version of the protocol that its dialer speaks, or undefined when it has
 * not all come. `bytes` of the answer: what it took.
 *
 * @throws VersionMismatch for a dialer of another major version: refuse it.
 * @throws ProtocolError for anything else that is no hello: close without an answer.
 */
export function decodeHello(bytes: Buffer): { hello: Hello; minor: number; bytes: number } | undefined {
  const packet = unpack(bytes);
  if (packet === undefined) return undefined;
  const { body } = packet;
  const role = text(body, "role");
  if (role !== "client" && role !== "worker") throw new ProtocolError(`a hello with the role ${quote(role)}, not client or worker`);
  const transport = text(body, "transport");
  if (transport !== "shm" && transport !== "socket") {
    throw new ProtocolError(`a hello with the transport ${quote(transport)}, not shm or socket`);
  }
  const hello: Hello = { role, transport, ...commonFields(body) };
  if (transport === "shm") {
    const segment = text(body, "segment");
    if (!SEGMENT_NAME.test(segment)) throw new ProtocolError(`a hello with a segment ${quote(segment)} that is not the name of a segment`);
    hello.segment = segment;
  }
  const exposes = body.get("exposes");
  if (exposes !== undefined) {
    if (typeof exposes !== "number" || exposes < 0 || exposes > MAX_EXPOSED) {
      throw new ProtocolError(`a hello whose exposes is not an integer from 0 to ${MAX_EXPOSED}`);
    }
    hello.exposes = exposes;
  }
  const attends = body.get("attends");
  if (attends !== undefined) {
    if (typeof attends !== "boolean") throw new ProtocolError("a hello whose attends is not true or false");
    hello.attends = attends;
  }
  return { hello, minor: packet.minor, bytes: packet.bytes };
}

/**
 * The hello of a second socket at the start of `bytes`, or undefined where that is another hello, or has not all come.
 *
 * @throws as {@link decodeHello}
 */
export function decodeDescriptorsHello(bytes: Buffer): { token: string; bytes: number } | undefined {
  const packet = unpack(bytes);
  if (packet?.body.get("role") !== "descriptors") return undefined;
  return { token: tokenIn(packet.body, "token"), bytes: packet.bytes };
}

/**
 * The acceptor's answer at the start of `bytes`, or undefined when it has not all come.
 *
 * @throws ProtocolError (VersionMismatch) for anything that is no answer of this protocol.
 */
export function decodeAnswer(bytes: Buffer): { answer: Welcome | Refusal; bytes: number } | undefined {
  const packet = unpack(bytes);
  if (packet === undefined) return undefined;
  const { body } = packet;
  const status = text(body, "status");
  if (status === "refused") {
    return { answer: { code: text(body, "code"), message: text(body, "message") }, bytes: packet.bytes };
  }
  if (status !== "welcome") throw new ProtocolError(`an answer to a hello with the status ${quote(status)}, not welcome or refused`);
  const answer = commonFields(body);
  if (body.has("descriptors")) answer.descriptors = tokenIn(body, "descriptors");
  return { answer, bytes: packet.bytes };
}

/** Is this the name of a segment of ours? Nothing else is ever opened or unlinked. */
export function isSegmentName(name: string): boolean {
  return SEGMENT_NAME.test(name);
}

function pack(body: { [key: string]: Value }): Buffer {
  const bytes = encode(body, MAX_BODY_BYTES);
  const header = Buffer.alloc(HEADER_BYTES);
  MAGIC.copy(header);
  header.writeUInt16LE(PROTOCOL_MAJOR, 4);
  header.writeUInt16LE(PROTOCOL_MINOR, 6);
  header.writeUInt32LE(bytes.length, 8);
  return Buffer.concat([header, bytes]);
}

function unpack(bytes: Buffer): Packet | undefined {
  const magic = Math.min(MAGIC.length, bytes.length);
  if (MAGIC.compare(bytes, 0, magic, 0, magic) !== 0) {
    // As text, because what strays here is mostly text, such as HTTP.
    throw new ProtocolError(`not a handshake of this protocol: it begins with ${JSON.stringify(bytes.toString("latin1", 0, 16))}`);
  }
  if (bytes.length < HEADER_BYTES) return undefined;
  const major = bytes.readUInt16LE(4);
  const minor = bytes.readUInt16LE(6);
  // First, because another version may have another body, and other limits.
  if (major !== PROTOCOL_MAJOR) {
    throw new VersionMismatch(
      `the peer speaks protocol ${major}.${minor}, this side ${PROTOCOL_MAJOR}.${PROTOCOL_MINOR}: bring both to the same version`,
    );
  }
  const length = bytes.readUInt32LE(8);
  if (length > MAX_BODY_BYTES) {
    throw new ProtocolError(`a handshake with a body of ${length} bytes; at most ${MAX_BODY_BYTES} are allowed`);
  }
  const end = HEADER_BYTES + length;
  if (bytes.length < end) return undefined;
  return { major, minor, body: readBody(bytes.subarray(HEADER_BYTES, end)), bytes: end };
}

function readBody(bytes: Uint8Array): Body {
  const decoder = new Decoder();
  decoder.begin(Buffer.from(bytes), 0, bytes.length);
  const entries = decoder.mapLength();
  const body = new Map<string, Value>();
  for (let index = 0; index < entries; index++) {
    const key = decoder.key();
    if (typeof key !== "string") throw new ProtocolError("a handshake whose body is not a map with string keys");
    // Not value(): that makes the same number of an integral float.
    body.set(key, key === "max_message" || key === "exposes" ? decoder.unsigned(1) : decoder.value(1));
  }
  if (entries < 0) throw new ProtocolError("a handshake whose body is not a map with string keys");
  decoder.finish();
  return body;
}

function commonFields(body: Body): Welcome {
  const name = text(body, "name");
  // Code points, which is what Python counts.
  const characters = Array.from(name).length;
  if (characters < 1 || characters > MAX_NAME_CHARACTERS) {
    throw new ProtocolError(`a handshake with a name of ${characters} characters, not 1 to ${MAX_NAME_CHARACTERS}`);
  }
  const maxMessage = body.get("max_message");
  if (typeof maxMessage !== "number" || maxMessage < 1) {
    throw new ProtocolError("a handshake whose max_message is not an integer from 1 to 2^53 - 1");
  }
  const common: Welcome = { name, language: text(body, "language"), library: text(body, "library"), maxMessage };
  if (body.has("project")) common.project = projectIn(body);
  return common;
}

function projectIn(body: Body): string {
  const project = text(body, "project");
  const characters = Array.from(project).length;
  if (characters > MAX_PROJECT_CHARACTERS) {
    throw new ProtocolError(`a handshake with a project of ${characters} characters; at most ${MAX_PROJECT_CHARACTERS} are allowed`);
  }
  return project;
}

function tokenIn(body: Body, key: string): string {
  const token = text(body, key);
  if (!TOKEN.test(token)) throw new ProtocolError(`a handshake whose ${key} is not 32 hexadecimal digits: ${quote(token)}`);
  return token;
}

function text(body: Body, key: string): string {
  const value = body.get(key);
  if (typeof value !== "string") throw new ProtocolError(`a handshake whose ${key} is not a string`);
  return value;
}

function quote(value: string): string {
  return JSON.stringify(value.slice(0, 64));
}
