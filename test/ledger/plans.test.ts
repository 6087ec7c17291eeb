import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CellName } from '../../src/db/queryable.ts';
import { readBalance } from '../../src/ledger/balances.ts';
import { adjust, refund, reverseTransfer, setCreditLine, setFrozen } from '../../src/ledger/corrections.ts';
import { addGrant, voidGrant } from '../../src/ledger/grants.ts';
import { applyOperations } from '../../src/ledger/spending.ts';
import { sweep } from '../../src/ledger/sweeps.ts';
import { newId } from '../../src/lib/ids.ts';
import { type PlanWatch, watchPlans } from './plans.ts';
import { CELLS, createLedgerDatabase, expectSoundBooks, type LedgerDatabase, openMany } from './support.ts';

const ACCOUNTS = 2_000;
/** The first of them have credit that ends. */
const ENDING = 420;
const HOUR = 3_600_000;
/** PostgreSQL changes to a generic plan after the fifth execution. */
const TIMES = 7;
const BY = { reason: 'a test', actor: 'tester' };

let database: LedgerDatabase;
let watch: PlanWatch;

beforeAll(async () => {
  database = await createLedgerDatabase();
  watch = await watchPlans(database.databaseUrl);
});

afterAll(async () => {
  await watch.close();
  await database.close();
});

/** Spending on accounts whose promotional credit ends in an hour, at an instant, singly and in batches. */
async function spendAt(cell: CellName, first: number, now: Date): Promise<void> {
  for (let i = 0; i < TIMES; i += 1) {
    const operations = Array.from({ length: 20 }, (_, n) => ({
      kind: 'debit' as const,
      accountId: BigInt(first + n),
      id: newId(),
      amountNanoUsd: 1n,
    }));
    await applyOperations(watch.client, cell, operations, { now });
    await applyOperations(watch.client, cell, operations.slice(0, 1), { now });
  }
}

async function hold(cell: CellName, first: number, amountNanoUsd: bigint): Promise<void> {
  const holds = Array.from({ length: 20 }, (_, n) => ({
    kind: 'hold' as const,
    accountId: BigInt(first + n),
    id: newId(),
    amountNanoUsd,
    lifetimeMs: HOUR / 2,
  }));
  const results = await applyOperations(database.pool, cell, holds);
  expect(results.map(result => result.status)).toEqual(holds.map(() => 'applied'));
}

async function correct(cell: CellName, first: number): Promise<void> {
  const { client } = watch;
  for (let i = 0; i < TIMES; i += 1) {
    const accountId = BigInt(first + i);
    const [debitId, grantId, otherId] = [newId(), newId(), newId()];
    for (const id of [debitId, otherId])
      await applyOperations(client, cell, [{ kind: 'debit', accountId, id, amountNanoUsd: 5n }]);
    const order = () => ({ accountId, id: newId(), ...BY });
    const grant = { accountId, id: grantId, amountNanoUsd: 5n, source: 'promotional', contra: 2 } as const;
    const results = [
      await addGrant(client, cell, grant),
      await voidGrant(client, cell, { ...order(), grantId }),
      await refund(client, cell, { ...order(), originalId: debitId, amountNanoUsd: 5n }),
      await reverseTransfer(client, cell, { ...order(), originalId: otherId }),
      await reverseTransfer(client, cell, { ...order(), originalId: grantId }),
      await adjust(client, cell, { ...order(), amountNanoUsd: -1n, contra: 6 }),
      await setFrozen(client, cell, { ...order(), frozen: false }),
      await setCreditLine(client, cell, { ...order(), amountNanoUsd: 1n }),
    ];
    expect(results.map(result => result.status)).toEqual(results.map(() => 'applied'));
    await readBalance(client, cell, accountId, { now: new Date(Date.now() + 2 * HOUR) });
  }
}

/** Payments that wait for their credit, one of every account. */
async function openPayments(cell: CellName, count: number): Promise<string[]> {
  const { pool } = database;
  const ids = Array.from({ length: count }, () => newId());
  await pool.query(`INSERT INTO "${cell}".network VALUES ('eip155:8453', 'live') ON CONFLICT DO NOTHING`);
  await pool.query(
    `SELECT count("${cell}".open_payment(id, i, 'live', 'test:' || id, 'venice', 'embedded', 'exact', 'eip155:8453',
       '0xasset', '0xreceiver', '0xpayer', 5, '{}', 1, 60000))
     FROM unnest($1::uuid[]) WITH ORDINALITY AS q(id, i)`,
    [ids],
  );
  return ids;
}

async function creditPayments(cell: CellName, ids: readonly string[]): Promise<void> {
  for (const [index, id] of ids.entries())
    await watch.client.query({
      name: `credit_${cell}`,
      text: `SELECT first FROM "${cell}".credit_payment($1, 5000, 100::smallint, $2, 0, 1, '0xblock', 1000, now())`,
      values: [id, `0x${index}`],
    });
}

describe.each(CELLS)('%s', cell => {
  it('reaches rows by their account where credit ends, is corrected, is paid for and is swept', async () => {
    const { pool } = database;
    await openMany(pool, cell, ACCOUNTS, 1_000n);
    const soon = new Date(Date.now() + HOUR);
    await pool.query(
      `SELECT count("${cell}".add_grant(i, id, 100, 'promotional', 2::smallint, 40::smallint, $2))
       FROM unnest($1::uuid[]) WITH ORDINALITY AS q(id, i)`,
      [Array.from({ length: ENDING }, () => newId()), soon],
    );
    const payments = await openPayments(cell, 100);
    await pool.query('ANALYZE');
    const later = new Date(Date.now() + 2 * HOUR);
    // Credit that will end, that ends now, and that has ended and is protected by a hold of everything.
    expect(await watch.accessesWithoutAccount(() => spendAt(cell, 100, new Date()))).toEqual([]);
    expect(await watch.accessesWithoutAccount(() => spendAt(cell, 200, later))).toEqual([]);
    await hold(cell, 300, 1_050n);
    expect(await watch.accessesWithoutAccount(() => spendAt(cell, 300, later))).toEqual([]);
    expect(await watch.accessesWithoutAccount(() => correct(cell, 400))).toEqual([]);
    expect(await watch.accessesWithoutAccount(() => creditPayments(cell, payments.slice(0, TIMES)))).toEqual([
      'payment by payment_id',
    ]);

    // What is due is looked for by time; from there on it is the account again.
    for (let first = 500; first < 1_500; first += 20) await hold(cell, first, 10n);
    await pool.query(`ANALYZE "${cell}".hold`);
    const sweeping = () => sweep(watch.client, cell, { now: later, batch: 100 });
    expect(await watch.accessesWithoutAccount(sweeping)).toEqual([
      'account by next_due',
      'hold by expires_at',
    ]);
    await expectSoundBooks(pool, cell);
  });
});
