import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { surviveDatabaseKills, surviveProcessKills } from '../ledger/crash.ts';
import { expectLinearizable } from '../ledger/linearizability.ts';
import { spawnLoad } from '../ledger/load-children.ts';
import { expectModelAgrees } from '../ledger/model-property.ts';
import {
  CELLS,
  createLedgerDatabase,
  expectSoundBooks,
  type LedgerDatabase,
  openMany,
} from '../ledger/support.ts';

const SEED = Number(process.env['FC_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

let database: LedgerDatabase;

beforeAll(async () => {
  console.log(`ledger soak: FC_SEED=${SEED}`);
  database = await createLedgerDatabase(8);
});

afterAll(() => database.close());

/** In each cell; 2,000 in both together. */
const HISTORIES = 1_000;

describe.each(CELLS)('%s', cell => {
  // The second cell plays other histories than the first.
  const seed = SEED + CELLS.indexOf(cell);

  it(`agrees with the model over ${HISTORIES} histories (seed ${seed})`, async () => {
    await expectModelAgrees(database.pool, cell, { seed, runs: HISTORIES });
  });

  it(`is linearizable per account over ${HISTORIES} histories (seed ${seed})`, async () => {
    await expectLinearizable(database.pool, cell, { seed, runs: HISTORIES });
  });
});

const SPREADS = CELLS.flatMap(cell => [1, 10_000].map(accounts => [cell, accounts] as const));

it.each(SPREADS)(
  '%s: four processes on %i accounts for 5 s without a failed call',
  async (cell, accounts) => {
    const own = await createLedgerDatabase();
    try {
      await openMany(own.pool, cell, accounts, 1_000_000_000n);
      const load = { accounts, inFlight: 64, durationMs: 5_000 };
      const runs = await Promise.all([1, 2, 3, 4].map(() => spawnLoad(own.databaseUrl, cell, load)));
      expect(runs.map(run => run.failures)).toEqual([{}, {}, {}, {}]);
      await expectSoundBooks(own.pool, cell);
    } finally {
      await own.close();
    }
  },
);

it.each(CELLS)('%s loses nothing when PostgreSQL is killed five times under load', async cell => {
  await expect(surviveDatabaseKills(5, cell)).resolves.toBeUndefined();
});

it.each(CELLS)('%s loses nothing when the process is killed five times under load', async cell => {
  const own = await createLedgerDatabase();
  try {
    await expect(surviveProcessKills(own.databaseUrl, own.pool, 5, cell)).resolves.toBeUndefined();
  } finally {
    await own.close();
  }
});
