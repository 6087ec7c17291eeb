import { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAccount } from '../../src/ledger/accounts.ts';
import { readBalance } from '../../src/ledger/balances.ts';
import { createBatcher } from '../../src/ledger/batcher.ts';
import { addGrant } from '../../src/ledger/grants.ts';
import { applyOperations, type SpendingOperation, type SpendingResult } from '../../src/ledger/spending.ts';
import { newId } from '../../src/lib/ids.ts';
import { expectAllBooked, ORDERS, spawnLoad } from '../ledger/load-children.ts';
import {
  CELLS,
  createLedgerDatabase,
  expectSoundBooks,
  type LedgerDatabase,
  openFunded,
  openMany,
} from '../ledger/support.ts';

const WRITERS = 64;

let database: LedgerDatabase;
let crowd: Pool;

beforeAll(async () => {
  database = await createLedgerDatabase();
  crowd = new Pool({ connectionString: database.databaseUrl, max: WRITERS });
});

afterAll(async () => {
  await crowd.end();
  await database.close();
});

describe.each(CELLS)('%s', cell => {
  it('never lets 64 writers with connections of their own overdraw one account', async () => {
    const accountId = await openFunded(database.pool, cell, 500n);
    const statuses: string[] = [];
    await Promise.all(
      Array.from({ length: WRITERS }, async () => {
        for (let i = 0; i < 10; i += 1) {
          const [result] = await applyOperations(crowd, cell, [
            { kind: 'debit', accountId, id: newId(), amountNanoUsd: 1n },
          ]);
          statuses.push(result?.status ?? '');
        }
      }),
    );
    expect(statuses.filter(status => status === 'applied')).toHaveLength(500);
    expect(statuses.filter(status => status === 'insufficient')).toHaveLength(WRITERS * 10 - 500);
    expect((await readBalance(database.pool, cell, accountId))?.availableNanoUsd).toBe(0n);
    await expectSoundBooks(database.pool, cell);
  });

  it('applies an id once when 64 callers send it at the same time', async () => {
    const accountId = await openFunded(database.pool, cell, 500n);
    const operation = { kind: 'debit', accountId, id: newId(), amountNanoUsd: 7n } as const;
    const results = await Promise.all(
      Array.from({ length: WRITERS }, () => applyOperations(crowd, cell, [operation])),
    );
    const statuses = results.map(([result]) => result?.status);
    expect(statuses.filter(status => status === 'applied')).toHaveLength(1);
    expect(statuses.filter(status => status === 'replayed')).toHaveLength(WRITERS - 1);
    expect((await readBalance(database.pool, cell, accountId))?.postedNanoUsd).toBe(493n);
  });

  const writers: Record<string, () => (operation: SpendingOperation) => Promise<SpendingResult | undefined>> =
    {
      'through the batcher': () => createBatcher({ db: database.pool, cell }).submit,
      'with connections of their own': () => async operation => {
        const [result] = await applyOperations(crowd, cell, [operation]);
        return result;
      },
    };

  it.each(Object.entries(writers))('serves 64 writers over 10,000 accounts %s', async (_, open) => {
    await openMany(database.pool, cell, 10_000, 5n);
    const total = async () => {
      const { rows } = await database.pool.query<{ posted: string }>(
        `SELECT sum(posted) AS posted FROM "${cell}".account WHERE account_id <= 10000`,
      );
      return BigInt(rows[0]?.posted ?? '0');
    };
    const before = await total();
    const perform = open();
    let applied = 0n;
    await Promise.all(
      Array.from({ length: WRITERS }, async () => {
        for (let i = 0; i < 100; i += 1) {
          const accountId = BigInt(1 + Math.floor(Math.random() * 10_000));
          const result = await perform({ kind: 'debit', accountId, id: newId(), amountNanoUsd: 2n });
          expect(['applied', 'insufficient']).toContain(result?.status);
          if (result?.status === 'applied') applied += 2n;
        }
      }),
    );
    expect(await total()).toBe(before - applied);
    await expectSoundBooks(database.pool, cell);
  });
});

it.each(CELLS)(
  '%s: runs four processes with two lanes each on the same accounts for 5 s without one failed call',
  {
    timeout: 60_000,
  },
  async cell => {
    await openMany(database.pool, cell, 20, 1_000_000n);
    const runs = await Promise.all(
      Array.from({ length: 4 }, () =>
        spawnLoad(database.databaseUrl, cell, { accounts: 20, inFlight: 64, durationMs: 5_000 }),
      ),
    );
    expect(runs.map(run => run.failures)).toEqual([{}, {}, {}, {}]);
    const done = runs.flatMap(run => run.done);
    expect(ORDERS.filter(kind => !done.some(line => line.startsWith(`${kind} `)))).toEqual([]);
    await expectAllBooked(database.pool, cell, done);
    await expectSoundBooks(database.pool, cell);
  },
);

it.each(CELLS)('%s: leaves an account alone that is opened while a batch waits for another', async cell => {
  const known = await openFunded(database.pool, cell, 1_000n);
  const late = known + 500_000n;
  const holder = await database.pool.connect();
  try {
    await holder.query('BEGIN');
    await holder.query(`SELECT FROM "${cell}".account WHERE account_id = ${known} FOR UPDATE`);
    const batch = database.pool.query<{ status: number[] }>(
      `SELECT status FROM "${cell}".apply('{1,1}', $1, $2, '{10,100}', '{0,0}')`,
      [
        [known, late],
        [newId(), newId()],
      ],
    );
    const waiting = async () => {
      const { rows } = await database.pool.query(
        "SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%apply%'",
      );
      return rows[0].n;
    };
    await expect.poll(waiting, { timeout: 10_000 }).toBe(1);
    await openAccount(database.pool, cell, { accountId: late, environment: 'live' });
    const grant = { accountId: late, id: newId(), amountNanoUsd: 100n, source: 'paid', contra: 100 } as const;
    expect((await addGrant(database.pool, cell, grant)).status).toBe('applied');
    await holder.query('COMMIT');
    // Status 3: for this call there was no such account. Its owner spends the same credit in the next one.
    expect((await batch).rows[0]?.status).toEqual([0, 3]);
    expect((await readBalance(database.pool, cell, late))?.postedNanoUsd).toBe(100n);
    await expectSoundBooks(database.pool, cell);
  } finally {
    holder.release();
  }
});
