import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBalance } from '../../src/ledger/balances.ts';
import { refund, setFrozen } from '../../src/ledger/corrections.ts';
import { addGrant, credit } from '../../src/ledger/grants.ts';
import { detachMonth } from '../../src/ledger/partitions.ts';
import { sealNew } from '../../src/ledger/seals.ts';
import { applyOperations, type SpendingOperation } from '../../src/ledger/spending.ts';
import { listTransfers } from '../../src/ledger/statements.ts';
import { sweep } from '../../src/ledger/sweeps.ts';
import { newId } from '../../src/lib/ids.ts';
import { CELLS, createLedgerDatabase, expectSoundBooks, type LedgerDatabase, openFunded } from './support.ts';

const DAY = 86_400_000;
const BY_HAND = { reason: 'a test', actor: 'tester' };

let database: LedgerDatabase;

beforeAll(async () => {
  database = await createLedgerDatabase();
});

afterAll(() => database.close());

describe.each(CELLS)('%s', cell => {
  /** The operations at an instant: one alone by the call for one, several together. */
  async function apply(operations: SpendingOperation[], at: number): Promise<(string | undefined)[]> {
    const results = await applyOperations(database.pool, cell, operations, { now: new Date(at) });
    return results.map(result => result.status);
  }

  it('keeps what a charge could not collect in the month of the charge, so that no refund exceeds it', async () => {
    const { pool } = database;
    const today = new Date();
    const monthStart = Date.UTC(today.getUTCFullYear(), today.getUTCMonth(), 1);
    const now = monthStart - 30_000;
    const accounts = [await openFunded(pool, cell, 0n), await openFunded(pool, cell, 0n)];
    const before = { amountNanoUsd: 10n, contra: 100, now: new Date(now) } as const;
    for (const accountId of accounts) await credit(pool, cell, { ...before, accountId, id: newId(now) });
    // The callers' clocks are ahead: their ids are of the month that has not begun here.
    const debits = accounts.map(accountId => ({
      kind: 'debit' as const,
      accountId,
      id: newId(monthStart + 1_000),
      amountNanoUsd: 100n,
      writeOff: true,
    }));
    const [single, ...others] = debits;
    expect(await apply(single ? [single] : [], now)).toEqual(['applied']);
    const neighbour = { ...debits[0], id: newId(now), writeOff: false } as const;
    expect(await apply([...others, neighbour as SpendingOperation], now)).toEqual([
      'applied',
      'insufficient',
    ]);
    await sealNew(pool, cell);
    const nextMonth = new Date(Date.UTC(today.getUTCFullYear(), today.getUTCMonth() + 1, 2));
    expect(await detachMonth(pool, cell, new Date(now), nextMonth)).toBe('detached');
    for (const { accountId, id } of debits) {
      const order = { accountId, originalId: id, ...BY_HAND };
      const tooMuch = await refund(pool, cell, { ...order, id: newId(), amountNanoUsd: 11n });
      expect(tooMuch.status).toBe('exceeds_original');
      const all = await refund(pool, cell, { ...order, id: newId(), amountNanoUsd: 10n });
      expect([all.status, all.postedNanoUsd]).toEqual(['applied', 10n]);
    }
    await expectSoundBooks(pool, cell);
  });

  it('ends holds and grants when nobody has made the month that has begun', async () => {
    const { pool } = database;
    const { rows } = await pool.query<{ end: Date }>(
      `SELECT "${cell}".id_time(id_until) AS end FROM "${cell}".transfer_window`,
    );
    const end = rows[0]?.end.getTime() ?? 0;
    const [placedAt, later] = [end - 3_600_000, end + DAY];
    const accounts: bigint[] = [];
    const holds: (SpendingOperation & { amountNanoUsd: bigint })[] = [];
    for (let i = 0; i < 4; i += 1) {
      const accountId = await openFunded(pool, cell, 10n);
      const id = newId(placedAt + i);
      accounts.push(accountId);
      holds.push({ kind: 'hold', accountId, id, amountNanoUsd: 10n, lifetimeMs: 2 * DAY });
    }
    expect(await apply(holds, placedAt)).toEqual(Array(4).fill('applied'));
    const captures = holds.map(({ accountId, id }) => ({
      kind: 'capture' as const,
      accountId,
      id,
      amountNanoUsd: 25n,
      overage: 'write_off' as const,
    }));
    expect(await apply(captures.slice(0, 1), later)).toEqual(['applied']);
    expect(await apply(captures.slice(1, 3), later)).toEqual(['applied', 'applied']);
    await sweep(pool, cell, { now: new Date(later + 3 * DAY) });
    expect(await apply(captures.slice(3), later + 3 * DAY)).toEqual(['applied']);
    for (const accountId of accounts) {
      const { transfers } = await listTransfers(pool, cell, accountId, { limit: 2 });
      expect(transfers.map(t => [t.code, t.amountNanoUsd, t.createdAt.getTime() >= later])).toEqual([
        ['capture', -25n, true],
        ['write_off', 15n, true],
      ]);
    }
    await expectExpiry(end, later);
    await expectSoundBooks(pool, cell);
  });

  async function expectExpiry(end: number, later: number): Promise<void> {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 0n);
    const grant = { accountId, amountNanoUsd: 30n, source: 'promotional', contra: 2 } as const;
    const expiresAt = new Date(end);
    await addGrant(pool, cell, { ...grant, id: newId(), expiresAt });
    const balance = await readBalance(pool, cell, accountId, { now: new Date(later) });
    expect(balance?.postedNanoUsd).toBe(0n);
    // What is new is refused: it waits for the month.
    const order = { accountId, id: newId(later), frozen: true, ...BY_HAND, now: new Date(later) };
    expect((await setFrozen(pool, cell, order)).status).toBe('id_out_of_range');
    const debit = { kind: 'debit', accountId, id: newId(later), amountNanoUsd: 1n } as const;
    expect(await apply([debit], later)).toEqual(['id_out_of_range']);
  }
});
