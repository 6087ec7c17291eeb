import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Queryable, Statement } from '../../src/db/queryable.ts';
import { readBalance } from '../../src/ledger/balances.ts';
import { createBatcher } from '../../src/ledger/batcher.ts';
import { newId } from '../../src/lib/ids.ts';
import {
  CELLS,
  countTransfers,
  createLedgerDatabase,
  expectSoundBooks,
  type LedgerDatabase,
  openFunded,
} from './support.ts';

let database: LedgerDatabase;

beforeAll(async () => {
  database = await createLedgerDatabase();
});

afterAll(() => database.close());

/** The real pool behind a network that loses questions or answers when told to. */
function flakyNetwork(lose: (call: number) => 'question' | 'answer' | Error | undefined) {
  const calls: number[] = [];
  const db: Queryable = {
    async query(statement: Statement) {
      const call = calls.length;
      calls.push((statement.values[2] as string).split(',').length);
      const fate = lose(call);
      if (fate === 'question' || fate instanceof Error)
        throw fate instanceof Error ? fate : Object.assign(new Error('reset'), { code: 'ECONNRESET' });
      const result = await database.pool.query(statement);
      if (fate === 'answer') throw Object.assign(new Error('reset'), { code: 'ECONNRESET' });
      return result;
    },
  };
  /** How many operations each call carried. */
  return { db, calls };
}

describe.each(CELLS)('%s', cell => {
  const debit = (accountId: bigint, amountNanoUsd = 1n) =>
    ({ kind: 'debit', accountId, id: newId(), amountNanoUsd }) as const;

  it('sends what arrives together in one call, and an account always on one lane', async () => {
    const accountId = await openFunded(database.pool, cell, 100n);
    const network = flakyNetwork(() => undefined);
    const batcher = createBatcher({ db: network.db, cell });
    const results = await Promise.all(Array.from({ length: 40 }, () => batcher.submit(debit(accountId))));
    expect(results.every(result => result.status === 'applied')).toBe(true);
    expect(network.calls).toEqual([40]);
  });

  it.each(['question', 'answer'] as const)('books once when the %s of a call is lost', async part => {
    const accountId = await openFunded(database.pool, cell, 100n);
    const network = flakyNetwork(call => (call < 2 ? part : undefined));
    const batcher = createBatcher({ db: network.db, cell });
    const results = await Promise.all([
      batcher.submit(debit(accountId)),
      batcher.submit(debit(accountId)),
      batcher.submit({ ...debit(accountId), amountNanoUsd: 1_000n }),
    ]);
    const done = part === 'question' ? 'applied' : 'replayed';
    expect(results.map(result => result.status)).toEqual([done, done, 'insufficient']);
    expect((await readBalance(database.pool, cell, accountId))?.postedNanoUsd).toBe(98n);
    expect(await countTransfers(database.pool, cell, accountId)).toBe(3);
  });

  it('never calls a batch done when its outcome stays unknown', async () => {
    const accountId = await openFunded(database.pool, cell, 100n);
    const network = flakyNetwork(() => 'answer');
    const failures: unknown[] = [];
    const batcher = createBatcher({
      db: network.db,
      cell,
      maxAttempts: 2,
      onFailure: error => failures.push(error),
    });
    const operation = debit(accountId);
    await expect(batcher.submit(operation)).rejects.toMatchObject({ code: 'unavailable' });
    expect(failures).toHaveLength(2);
    // The caller asks again with the same id and learns the truth.
    const sound = createBatcher({ db: database.pool, cell });
    expect((await sound.submit(operation)).status).toBe('replayed');
    expect((await readBalance(database.pool, cell, accountId))?.postedNanoUsd).toBe(99n);
  });

  it('lets only the guilty operation fail when a call is refused as a whole', async () => {
    const accountId = await openFunded(database.pool, cell, 100n);
    const refused = Object.assign(new Error('a bug'), { code: '23514' });
    const network = flakyNetwork(call => (call === 0 || call === 2 ? refused : undefined));
    const batcher = createBatcher({ db: network.db, cell });
    const results = await Promise.allSettled([1, 2, 3].map(() => batcher.submit(debit(accountId))));
    expect(results.map(result => result.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(network.calls).toEqual([3, 1, 1, 1]);
    expect((await readBalance(database.pool, cell, accountId))?.postedNanoUsd).toBe(98n);
  });

  it('answers a repetition with the first answer, and keeps operations on one id in order', async () => {
    const accountId = await openFunded(database.pool, cell, 100n);
    const network = flakyNetwork(() => undefined);
    const batcher = createBatcher({ db: network.db, cell });
    const operation = debit(accountId, 7n);
    const { id } = operation;
    const same = await Promise.all([batcher.submit(operation), batcher.submit({ ...operation })]);
    expect(same.map(result => result.status)).toEqual(['applied', 'applied']);
    const hold = { kind: 'hold', accountId, id: newId(), amountNanoUsd: 9n, lifetimeMs: 60_000 } as const;
    const chain = await Promise.all([
      batcher.submit(hold),
      batcher.submit({ kind: 'capture', accountId, id: hold.id, amountNanoUsd: 4n }),
      batcher.submit({ kind: 'release', accountId, id: hold.id }),
      batcher.submit({ ...operation, id, amountNanoUsd: 8n }),
    ]);
    expect(chain.map(result => result.status)).toEqual(['applied', 'applied', 'conflict', 'conflict']);
    expect((await readBalance(database.pool, cell, accountId))?.postedNanoUsd).toBe(89n);
    await expectSoundBooks(database.pool, cell);
  });

  it('turns callers away when its queue is full or it is closing, and finishes what it took', async () => {
    const accountId = await openFunded(database.pool, cell, 100n);
    const batcher = createBatcher({ db: database.pool, cell, maxWaiting: 5 });
    const results = await Promise.allSettled(
      Array.from({ length: 9 }, () => batcher.submit(debit(accountId))),
    );
    expect(results.filter(result => result.status === 'fulfilled')).toHaveLength(5);
    for (const result of results.filter(r => r.status === 'rejected'))
      expect(result.reason).toMatchObject({ code: 'unavailable' });
    const last = batcher.submit(debit(accountId));
    const drained = batcher.drain();
    await expect(batcher.submit(debit(accountId))).rejects.toMatchObject({ code: 'unavailable' });
    await drained;
    expect((await last).status).toBe('applied');
    expect((await readBalance(database.pool, cell, accountId))?.postedNanoUsd).toBe(94n);
  });
});
