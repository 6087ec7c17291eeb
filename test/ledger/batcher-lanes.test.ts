import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { Queryable } from '../../src/db/queryable.ts';
import { createBatcher } from '../../src/ledger/batcher.ts';
import { newId } from '../../src/lib/ids.ts';
import { CELLS, createLedgerDatabase, type LedgerDatabase, openMany } from './support.ts';

let database: LedgerDatabase;

beforeAll(async () => {
  database = await createLedgerDatabase();
});

afterEach(() => {
  vi.useRealTimers();
});

afterAll(() => database.close());

const debit = (accountId: bigint) => ({ kind: 'debit', accountId, id: newId(), amountNanoUsd: 1n }) as const;

/** The real pool behind a door that opens for one call at a time; tells which accounts each call carried. */
function throughDoor() {
  const waiting: { accounts: bigint[]; open: () => void }[] = [];
  const db: Queryable = {
    async query(statement) {
      const value = statement.values[1];
      const accounts =
        typeof value === 'bigint' ? [value] : String(value).slice(1, -1).split(',').map(BigInt);
      await new Promise<void>(open => waiting.push({ accounts, open }));
      return database.pool.query(statement);
    },
  };
  return { db, waiting };
}

/** Lets everything run that can run without the outside. */
const breath = () => new Promise(resolve => setImmediate(resolve));

describe.each(CELLS)('%s', cell => {
  beforeAll(() => openMany(database.pool, cell, 8, 1_000n));

  it('sends at once when a lane is idle, and then all that has queued up in one call', async () => {
    const { db, waiting } = throughDoor();
    const batcher = createBatcher({ db, cell, lanes: 1, maxBatch: 4 });
    const first = batcher.submit(debit(1n));
    await breath();
    expect(waiting.map(call => call.accounts)).toEqual([[1n]]);
    const queued = [2n, 3n, 1n, 4n, 5n, 6n].map(accountId => batcher.submit(debit(accountId)));
    await breath();
    expect(waiting).toHaveLength(1);
    waiting[0]?.open();
    await first;
    await expect.poll(() => waiting.length).toBe(2);
    expect(waiting[1]?.accounts).toEqual([2n, 3n, 1n, 4n]);
    waiting[1]?.open();
    await expect.poll(() => waiting.length).toBe(3);
    expect(waiting[2]?.accounts).toEqual([5n, 6n]);
    waiting[2]?.open();
    for (const result of await Promise.all(queued)) expect(result.status).toBe('applied');
  });

  it('keeps an account on one lane, and lets the lanes go at the same time', async () => {
    const { db, waiting } = throughDoor();
    const batcher = createBatcher({ db, cell, lanes: 2 });
    const done = [1n, 2n].map(accountId => batcher.submit(debit(accountId)));
    await breath();
    expect(waiting.map(call => call.accounts)).toEqual([[1n], [2n]]);
    for (const accountId of [3n, 1n, 4n, 2n]) done.push(batcher.submit(debit(accountId)));
    await breath();
    // Both lanes wait for their first call, and nobody overtakes them.
    expect(waiting).toHaveLength(2);
    for (const call of waiting) call.open();
    await expect.poll(() => waiting.length).toBe(4);
    const next = waiting.slice(2).map(call => call.accounts);
    expect(next).toContainEqual([3n, 1n]);
    expect(next).toContainEqual([4n, 2n]);
    for (const call of waiting.slice(2)) call.open();
    await Promise.all(done);
  });

  it('needs no timer to serve a single operation', async () => {
    const batcher = createBatcher({ db: database.pool, cell });
    // The connection is there; from here on no timer fires.
    await batcher.submit(debit(1n));
    vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'setImmediate'] });
    expect((await batcher.submit(debit(1n))).status).toBe('applied');
  });
});
