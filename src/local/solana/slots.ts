import { createHash } from 'node:crypto';
import { encodeBase58 } from '../../lib/svm-address.ts';

export const COMMITMENTS = ['processed', 'confirmed', 'finalized'] as const;
export type Commitment = (typeof COMMITMENTS)[number];

/** A transaction may name the blockhash of any of this many blocks before its own. */
export const MAX_PROCESSING_AGE = 150;

/**
 * Blocks below slots, as on the real chain, where slots are skipped: who compares a slot with a
 * `lastValidBlockHeight` must fail here too.
 */
const SLOTS_WITHOUT_BLOCK = 21_000_000;

export interface SlotOptions {
  /** 64 hex digits from which every blockhash of this chain follows, so that none must be stored. */
  seed: string;
  slotMs: number;
  startSlot: number;
  /** Slots until a transaction is confirmed; 0: as soon as it was processed. */
  confirmedAfterSlots: number;
  finalizedAfterSlots: number;
}

/** The chain's time: one slot after another, each with a block and its hash. */
export interface Slots {
  /** Takes up the time that has passed. @returns the newest slot. */
  advance(): number;
  /** Lets this many slots pass at once. */
  skip(slots: number): void;
  /** The newest slot that has this commitment. */
  at(commitment: Commitment): number;
  commitmentOf(slot: number): Commitment;
  blockhash(slot: number): string;
  /** The slot whose hash it is, as seen by a transaction that would run in slot `from`. */
  findBlockhash(blockhash: string, from: number): number | undefined;
}

export function createSlots(options: SlotOptions): Slots {
  const startedAtMs = performance.now();
  const seed = Buffer.from(options.seed, 'hex');
  const recent = new Map<string, number>();
  let skipped = 0;
  let newest = options.startSlot;
  let listed = newest - MAX_PROCESSING_AGE - 1;

  function blockhash(slot: number): string {
    const number = Buffer.alloc(8);
    number.writeBigUInt64LE(BigInt(slot));
    return encodeBase58(createHash('sha256').update(seed).update(number).digest());
  }

  /** Lists the hashes of the slots that have passed; one call after a long rest lists one window. */
  function list(): void {
    const oldest = oldestListed();
    for (let slot = Math.max(listed + 1, oldest); slot <= newest; slot += 1)
      recent.set(blockhash(slot), slot);
    listed = newest;
    for (const [hash, slot] of recent) {
      if (slot >= oldest) break;
      recent.delete(hash);
    }
  }

  /** Preflight looks back from an older bank, so the window is wider than the newest bank's own. */
  function oldestListed(): number {
    return newest - MAX_PROCESSING_AGE - options.finalizedAfterSlots;
  }

  return {
    advance() {
      const passed = Math.floor((performance.now() - startedAtMs) / options.slotMs);
      newest = options.startSlot + passed + skipped;
      return newest;
    },
    skip(slots) {
      skipped += slots;
    },
    at(commitment) {
      if (commitment === 'processed') return newest;
      return (
        newest - (commitment === 'confirmed' ? options.confirmedAfterSlots : options.finalizedAfterSlots)
      );
    },
    commitmentOf(slot) {
      const age = newest - slot;
      if (age >= options.finalizedAfterSlots) return 'finalized';
      return age >= options.confirmedAfterSlots ? 'confirmed' : 'processed';
    },
    blockhash,
    findBlockhash(hash, from) {
      list();
      const slot = recent.get(hash);
      return slot === undefined || slot > from || from - slot > MAX_PROCESSING_AGE ? undefined : slot;
    },
  };
}

export function blockHeight(slot: number): number {
  return slot - SLOTS_WITHOUT_BLOCK;
}

export function lastValidBlockHeight(blockhashSlot: number): number {
  return blockHeight(blockhashSlot) + MAX_PROCESSING_AGE;
}
