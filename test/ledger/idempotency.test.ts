import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBatcher } from '../../src/ledger/batcher.ts';
import { adjust, setCreditLine, setFrozen } from '../../src/ledger/corrections.ts';
import { addGrant, voidGrant } from '../../src/ledger/grants.ts';
import { applyOperations, type SpendingOperation } from '../../src/ledger/spending.ts';
import { STATUSES } from '../../src/ledger/status.ts';
import { newId } from '../../src/lib/ids.ts';
import {
  CELLS,
  countTransfers,
  createLedgerDatabase,
  expectSoundBooks,
  type LedgerDatabase,
  openFunded,
} from './support.ts';

const BY_HAND = { reason: 'a test', actor: 'tester' };

let database: LedgerDatabase;

beforeAll(async () => {
  database = await createLedgerDatabase();
});

afterAll(() => database.close());

describe.each(CELLS)('%s', cell => {
  async function submit(operation: SpendingOperation) {
    const batcher = createBatcher({ db: database.pool, cell });
    return (await batcher.submit(operation)).status;
  }

  it('knows the ids of orders that move nothing, and of whatever else was booked', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 100n);
    const promised = {
      accountId,
      id: newId(),
      amountNanoUsd: 10n,
      source: 'promotional',
      contra: 2,
    } as const;
    await addGrant(pool, cell, promised);
    await submit({ kind: 'hold', accountId, id: newId(), amountNanoUsd: 110n, lifetimeMs: 60_000 });
    const [freeze, thaw, line, emptied] = [newId(), newId(), newId(), newId()];
    const orders = [
      await setFrozen(pool, cell, { accountId, id: freeze, frozen: true, ...BY_HAND }),
      await setFrozen(pool, cell, { accountId, id: thaw, frozen: false, ...BY_HAND }),
      await setCreditLine(pool, cell, { accountId, id: line, amountNanoUsd: 1_000n, ...BY_HAND }),
      // Everything is held, so there is nothing to void yet.
      await voidGrant(pool, cell, { accountId, id: emptied, grantId: promised.id, ...BY_HAND }),
    ];
    expect(orders.map(o => o.status)).toEqual(orders.map(() => 'applied'));
    const before = await countTransfers(pool, cell, accountId);
    for (const id of [freeze, thaw, line, emptied, promised.id]) {
      const debit = { kind: 'debit', accountId, id, amountNanoUsd: 1n } as const;
      const other = { ...debit, id: newId(), amountNanoUsd: 5_000n };
      const hold = { kind: 'hold', accountId, id, amountNanoUsd: 1n, lifetimeMs: 1_000 } as const;
      expect(await submit(debit)).toBe('conflict');
      expect(await submit(hold)).toBe('conflict');
      const batch = await applyOperations(pool, cell, [debit, other]);
      expect(batch.map(r => r.status)).toEqual(['conflict', 'insufficient']);
    }
    expect(await countTransfers(pool, cell, accountId)).toBe(before);
    const late = { accountId, id: newId(0), frozen: true, ...BY_HAND };
    expect((await setFrozen(pool, cell, late)).status).toBe('id_out_of_range');
    await expectSoundBooks(pool, cell);
  });

  it('calls a repetition with other content a conflict, down to lifetime, contra, reason and actor', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 100n);
    const hold = { kind: 'hold', accountId, id: newId(), amountNanoUsd: 9n, lifetimeMs: 60_000 } as const;
    const order = { accountId, id: newId(), amountNanoUsd: 5n, contra: 6, ...BY_HAND } as const;
    await submit(hold);
    await submit({ kind: 'renew', accountId, id: hold.id, lifetimeMs: 90_000 });
    await adjust(pool, cell, order);
    const ofHold = async () => [
      await submit(hold),
      await submit({ ...hold, lifetimeMs: 90_000 }),
      await submit({ ...hold, amountNanoUsd: 8n }),
    ];
    expect(await ofHold()).toEqual(['replayed', 'conflict', 'conflict']);
    await submit({ kind: 'capture', accountId, id: hold.id, amountNanoUsd: 9n });
    expect(await ofHold()).toEqual(['replayed', 'conflict', 'conflict']);
    const adjusted = await Promise.all(
      [
        order,
        { ...order, contra: 3 as const },
        { ...order, reason: 'another' },
        { ...order, actor: 'other' },
      ].map(o => adjust(pool, cell, o)),
    );
    expect(adjusted.map(r => r.status)).toEqual(['replayed', 'conflict', 'conflict', 'conflict']);
    // Credit that a reversal wrote off is collected by the payment's own SQL; it is not the same order.
    const collecting = async (p_collects: boolean) => {
      const { rows } = await pool.query<{ status: number }>(
        `SELECT status FROM "${cell}".adjust($1, $2, $3, $4::smallint, $5, $6, NULL, $7)`,
        [accountId, order.id, order.amountNanoUsd, order.contra, order.reason, order.actor, p_collects],
      );
      return STATUSES[rows[0]?.status ?? -1];
    };
    expect([await collecting(false), await collecting(true)]).toEqual(['replayed', 'conflict']);
    await expectSoundBooks(pool, cell);
  });

  it('does not compare what a charge was allowed to do beyond the money there, once it is done', async () => {
    const accountId = await openFunded(database.pool, cell, 100n);
    const debit = { kind: 'debit', accountId, id: newId(), amountNanoUsd: 130n, writeOff: true } as const;
    const hold = { kind: 'hold', accountId, id: newId(), amountNanoUsd: 9n, lifetimeMs: 60_000 } as const;
    await submit(hold);
    expect([await submit(debit), await submit({ ...debit, writeOff: false })]).toEqual([
      'applied',
      'replayed',
    ]);
    const capture = { kind: 'capture', accountId, id: hold.id, amountNanoUsd: 12n } as const;
    const overages = ['write_off', 'refuse', 'available', undefined] as const;
    const captured = [];
    for (const overage of overages)
      captured.push(await submit({ ...capture, ...(overage ? { overage } : {}) }));
    expect(captured).toEqual(['applied', 'replayed', 'replayed', 'replayed']);
    expect(await submit({ ...capture, amountNanoUsd: 11n })).toBe('conflict');
    await expectSoundBooks(database.pool, cell);
  });
});
