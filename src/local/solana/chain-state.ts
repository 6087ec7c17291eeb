import { randomBytes } from 'node:crypto';
import { type Bank, createBank } from './bank.ts';
import { createHistory, type TransactionRecord } from './history.ts';
import type { Litesvm } from './litesvm.ts';
import { createSlots } from './slots.ts';
import type { ChainMoment, SnapshotFiles } from './snapshot.ts';
import { createTreasury, type LocalMint, type Treasury } from './treasury.ts';

export interface ChainTimes {
  slotMs: number;
  confirmedAfterSlots: number;
  finalizedAfterSlots: number;
}

/** A chain that lives, can be saved and can be replaced by an empty one. */
export interface ChainState {
  readonly bank: Bank;
  readonly treasury: Treasury;
  /** It goes on where the last run stopped. */
  readonly restored: boolean;
  /** What was wrong with the saved chain, when there was one that could not be used. */
  readonly problem: string | undefined;
  reset(): Promise<void>;
  save(): Promise<void>;
}

/** Far from zero, because the programs of the virtual machine were deployed long ago. */
const FIRST_SLOT = 447_552_200;

interface Running {
  bank: Bank;
  treasury: Treasury;
  seed: string;
}

export async function openChain(options: {
  litesvm: Litesvm;
  mint: LocalMint;
  times: ChainTimes;
  files: SnapshotFiles | undefined;
}): Promise<ChainState> {
  const { litesvm, mint, times, files } = options;
  let problem: string | undefined;
  const saved = await restore();
  let running = saved ?? (await begin());
  let last = Promise.resolve();

  async function build(
    moment: Omit<ChainMoment, 'vm' | 'mint'>,
    vm: InstanceType<Litesvm['LiteSvm']>,
    records: readonly TransactionRecord[],
    fresh: boolean,
  ): Promise<Running> {
    const slots = createSlots({ ...times, seed: moment.seed, startSlot: moment.slot });
    const bank = createBank({
      vm,
      slots,
      history: createHistory(records),
      unixTimestamp: moment.unixTimestamp,
    });
    const treasury = await createTreasury({ litesvm, bank, mint, seed: moment.seed, fresh });
    return { bank, treasury, seed: moment.seed };
  }

  function begin(): Promise<Running> {
    const seed = randomBytes(32).toString('hex');
    const moment = { seed, slot: FIRST_SLOT, atMs: Date.now(), unixTimestamp: 0 };
    files?.startOver();
    return build(moment, new litesvm.LiteSvm(), [], true);
  }

  /** Time went on while nobody looked: what expired in between stays expired. */
  async function restore(): Promise<Running | undefined> {
    try {
      const found = await files?.load();
      if (!found) return undefined;
      const { moment, records } = found;
      if (moment.mint !== mint.address) {
        problem = 'the saved Solana chain has another token than this version';
        return undefined;
      }
      const passed = Math.max(0, Math.floor((Date.now() - moment.atMs) / times.slotMs));
      return await build(
        { ...moment, slot: moment.slot + passed },
        litesvm.LiteSvm.fromBytes(moment.vm),
        records,
        false,
      );
    } catch {
      problem = 'the saved Solana chain is damaged';
      return undefined;
    }
  }

  /** What is saved is what was true when it began, whatever happens while it is written. */
  async function write(): Promise<void> {
    if (!files) return;
    const { bank, seed } = running;
    const added = bank.history.takeAdded();
    const moment: ChainMoment = {
      seed,
      mint: mint.address,
      slot: bank.slots.advance(),
      atMs: Date.now(),
      unixTimestamp: bank.unixTimestamp(),
      vm: bank.toBytes(),
    };
    try {
      await files.save(moment, added);
    } catch (error) {
      bank.history.putBack(added);
      throw error;
    }
  }

  function oneAtATime(work: () => Promise<void>): Promise<void> {
    const result = last.then(work);
    last = result.catch(() => undefined);
    return result;
  }

  return {
    get bank() {
      return running.bank;
    },
    get treasury() {
      return running.treasury;
    },
    restored: saved !== undefined,
    problem,
    save: () => oneAtATime(write),
    reset: () =>
      oneAtATime(async () => {
        running = await begin();
        await write();
      }),
  };
}
