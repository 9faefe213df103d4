/**
 * Large buffers of one connection: what this side has lent the peer, and what it has borrowed (PROTOCOL.md section 12).
 *
 * They lie in memory of the lender's, which both have mapped; what travels in the message is where. The borrower says when
 * it has done with each, and only then is that memory written to again.
 */

import { constants } from "node:os";

import { type Binding, errnoName } from "./binding";
import type { BufferStats } from "./buffer_stats";
import { setImmediate } from "./clock";
import { runOutside } from "./current_call";
import { ProtocolError } from "./errors";
import type { Loan, Pool } from "./pool";
import { loanOf, markBorrowed } from "./shared_arrays";
import { ofReceiver } from "./transports/shortages";
import type { Lender } from "./values";

/** Memory of one side's that the other may know, one connection (PROTOCOL.md section 11): each takes a descriptor. */
export const MAX_KNOWN = 256;
/** Bytes of one buffer outside of its message (PROTOCOL.md section 11). */
export const MAX_BUFFER = 2 ** 32 - 1;
/** Descriptors may be here before the message that withdraws others has been read. */
const MOST_RECEIVED = 4 * MAX_KNOWN;
/** A buffer begins at a multiple of so many bytes: `SHM_MEMORY_ALIGN` of core/memory.h. */
export const ALIGN = 64;
/** What a mapping takes of its own, beside the memory that is mapped: at most 8 bytes for each page of 4096. */
const PAGE_TABLE_SHARE = 512;
/** Newer engines end the process where their count of memory would be taken below zero, which views that go together may do. */
const MAY_COUNT_LESS = Number.parseInt(process.versions.node, 10) < 24;

/** How the peer, and whoever receives, is told. */
interface Notices {
  /** This side has done with buffers: for each the number of the memory that it lies in. */
  returned(numbers: number[]): void;
  /** This side hands nothing over in memory of these numbers any more. */
  withdrawn(numbers: number[]): void;
  /** Why a buffer of the message that is being received cannot be had, for want of something of this process's. */
  withheld(why: string): void;
}

interface Lent {
  readonly loan: Loan;
  /** So many buffers of it the peer has been told of. */
  times: number;
}

interface PeerMemory {
  readonly fd: number;
  readonly size: number;
  /** Buffers of it that this process has. */
  mapped: number;
}

/** Whoever V8 has let go of. */
interface Borrowed {
  readonly buffers: Buffers;
  readonly number: number;
}

const collected = new FinalizationRegistry<Borrowed>(({ buffers, number }) => { buffers.giveBack(number); });
const received = new Float64Array(3);

export class Buffers implements Lender {
  private whyNot: string | undefined = "the peer has opened no second socket";
  private socket = -1;
  private lent = 0;
  private borrowed = 0;
  private readonly out = new Map<number, Lent>();
  /** To the peer, of this side's memory. */
  private readonly known = new Set<number>();
  /** By the message that is being encoded. */
  private placed: number[] = [];
  private readonly theirs = new Map<number, PeerMemory>();
  /** Theirs, before there was a descriptor to receive them with. */
  private readonly withdrawnEarly = new Set<number>();
  private toReturn: number[] = [];
  private hasEnded = false;

  /** `threshold`: bytes of the smallest buffer that is handed over like this. */
  constructor(
    readonly threshold: number,
    private readonly binding: Binding,
    private readonly pool: Pool,
    private readonly notices: Notices,
  ) {
    pool.watch(this);
  }

  /** The second socket is there: a descriptor, which is taken over. */
  open(socket: number): void {
    this.socket = socket;
    this.whyNot = undefined;
  }

  get stats(): BufferStats {
    let bytesLent = 0;
    for (const { loan } of this.out.values()) bytesLent += loan.size;
    const path = this.whyNot === undefined ? "memory" : `ring: ${this.whyNot}`;
    return { path, lent: this.lent, borrowed: this.borrowed, bytesLent, poolBytes: this.pool.freeBytes };
  }

  // ---- what this side lends

  begin(): void {
    this.placed = [];
  }

  takeBack(): void {
    for (const number of this.placed) this.wasReturned(number);
    this.placed = [];
  }

  place(bytes: Uint8Array): { number: number; offset: number } | undefined {
    if (bytes.length > MAX_BUFFER || this.whyNot !== undefined || this.known.size >= MAX_KNOWN) return undefined;
    let loan = loanOf(bytes);
    let offset = bytes.byteOffset;
    if (loan === undefined || offset % ALIGN !== 0) {
      const made = this.pool.lend(bytes.length);
      if (typeof made === "number") return undefined;
      this.binding.fillMemory(made.memory.slot, bytes);
      loan = made;
      offset = 0;
    } else {
      loan.hold();
    }
    const { number, slot } = loan.memory;
    if (!this.makeKnown(number, slot)) {
      loan.letGo();
      return undefined;
    }
    const lent = this.out.get(number);
    if (lent === undefined) {
      this.out.set(number, { loan, times: 1 });
    } else {
      // It is held for the first of them already.
      loan.letGo();
      lent.times++;
    }
    this.placed.push(number);
    this.lent++;
    return { number, offset };
  }

  private makeKnown(number: number, slot: number): boolean {
    if (this.known.has(number)) return true;
    const rc = this.binding.sendDescriptor(this.socket, slot, number);
    if (rc === 0) this.known.add(number);
    else if (rc !== -constants.errno.EAGAIN && errnoName(rc) !== "ETOOMANYREFS") this.close(`descriptors cannot be sent: ${errnoName(rc)}`);
    return rc === 0;
  }

  /** The peer has done with so many buffers in memory of ours. @throws ProtocolError */
  onReturned(numbers: readonly number[]): void {
    for (const number of numbers) {
      if (!this.wasReturned(number)) throw new ProtocolError(`memory ${number} is returned that had not been lent`);
    }
  }

  private wasReturned(number: number): boolean {
    const lent = this.out.get(number);
    if (lent === undefined) return false;
    if (--lent.times === 0) {
      this.out.delete(number);
      lent.loan.letGo();
    }
    return true;
  }

  withdraw(number: number): void {
    if (this.known.delete(number)) this.notices.withdrawn([number]);
  }

  // ---- what it borrows

  borrow(number: number, offset: number, size: number): ArrayBuffer | undefined {
    const lacking = this.theirs.has(number) ? 0 : this.receiveDescriptors();
    const memory = this.theirs.get(number);
    if (memory === undefined && lacking < 0) {
      this.withhold(number, size, lacking);
      return undefined;
    }
    if (memory === undefined) throw new ProtocolError(`a buffer in memory ${number}, whose descriptor has not come`);
    if (size < 1 || offset % ALIGN !== 0 || offset + size > memory.size) {
      throw new ProtocolError(`a buffer of ${size} bytes at ${offset} in memory of ${memory.size}`);
    }
    const counted = memory.mapped > 0 && MAY_COUNT_LESS ? Math.ceil(size / PAGE_TABLE_SHARE) : size;
    const buffer = this.binding.mapPart(memory.fd, offset, size, counted);
    if (typeof buffer === "number") {
      this.withhold(number, size, buffer);
      return undefined;
    }
    this.borrowed++;
    memory.mapped++;
    const token = { buffers: this, number };
    collected.register(buffer, token, token);
    markBorrowed(buffer, () => {
      collected.unregister(token);
      this.binding.detach(buffer);
      this.giveBack(number);
    });
    return buffer;
  }

  /** It cannot be had for want of something of this process's, and is returned. */
  private withhold(number: number, size: number, rc: number): void {
    const reason = ofReceiver(rc);
    if (reason === undefined) throw new ProtocolError(`memory ${number} cannot be mapped: ${errnoName(rc)}`);
    this.notices.withheld(`a buffer of ${size} bytes cannot be received: ${reason}`);
    this.queueReturned(number);
  }

  /** The peer uses that memory no more. Views of it stay as they are. @throws ProtocolError */
  onWithdrawn(numbers: readonly number[]): void {
    for (const number of numbers) {
      // It may be one whose descriptor nobody has asked for yet.
      const lacking = this.theirs.has(number) ? 0 : this.receiveDescriptors();
      const memory = this.theirs.get(number);
      if (memory === undefined && lacking < 0) {
        this.withdrawEarly(number);
        continue;
      }
      if (memory === undefined) throw new ProtocolError(`memory ${number} is withdrawn that was never sent`);
      this.theirs.delete(number);
      this.binding.closeDescriptor(memory.fd);
    }
  }

  /** Its descriptor comes when there is room for it, and is closed then. */
  private withdrawEarly(number: number): void {
    if (this.withdrawnEarly.has(number) || this.withdrawnEarly.size >= MOST_RECEIVED) {
      throw new ProtocolError(`memory ${number} is withdrawn a second time, or as one of more than ${MOST_RECEIVED}`);
    }
    this.withdrawnEarly.add(number);
  }

  /** All that have come. A negative errno where one stays there for want of something of this process's. */
  private receiveDescriptors(): number {
    if (this.socket < 0) return 0;
    for (;;) {
      const rc = this.binding.receiveDescriptor(this.socket, received);
      if (rc === 0 || rc === -constants.errno.EPIPE) return 0;
      if (ofReceiver(rc) !== undefined) return rc;
      if (rc === -constants.errno.EPROTO) {
        throw new ProtocolError("the peer has sent something else than a number and one descriptor of memory whose size is sealed");
      }
      if (rc < 0) throw new ProtocolError(`a descriptor cannot be received: ${errnoName(rc)}`);
      const [number, fd, size] = received as unknown as [number, number, number];
      if (this.withdrawnEarly.delete(number)) {
        this.binding.closeDescriptor(fd);
        continue;
      }
      if (this.theirs.has(number) || this.theirs.size >= MOST_RECEIVED) {
        this.binding.closeDescriptor(fd);
        throw new ProtocolError(`memory ${number} is sent a second time, or as one of more than ${MOST_RECEIVED}`);
      }
      this.theirs.set(number, { fd, size, mapped: 0 });
    }
  }

  /** Nobody here looks at a buffer in that memory any more. */
  giveBack(number: number): void {
    if (this.hasEnded) return;
    const memory = this.theirs.get(number);
    if (memory !== undefined) memory.mapped--;
    this.queueReturned(number);
  }

  private queueReturned(number: number): void {
    this.toReturn.push(number);
    // Many are collected at once; and a collector's callback is no place to send from.
    if (this.toReturn.length === 1) runOutside(() => setImmediate(this.sendReturned));
  }

  private readonly sendReturned = (): void => {
    const numbers = this.toReturn;
    this.toReturn = [];
    if (!this.hasEnded && numbers.length > 0) this.notices.returned(numbers);
  };

  // ---- the end

  private close(why: string): void {
    this.whyNot ??= why;
    if (this.socket >= 0) this.binding.closeDescriptor(this.socket);
    this.socket = -1;
  }

  /** The connection has ended. What the peer still has it may look at for ever: that memory is not used again. */
  end(): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    this.pool.unwatch(this);
    for (const { loan } of this.out.values()) {
      loan.isSpoiled = true;
      loan.letGo();
    }
    this.out.clear();
    for (const { fd } of this.theirs.values()) this.binding.closeDescriptor(fd);
    this.theirs.clear();
    this.close("the connection has ended");
  }
}
