import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBatcher } from '../../src/ledger/batcher.ts';
import { addGrant } from '../../src/ledger/grants.ts';
import { readSystemBalances, reconcileLedger, verifySeals } from '../../src/ledger/reconcile.ts';
import { sealWindow } from '../../src/ledger/seals.ts';
import { newId } from '../../src/lib/ids.ts';
import { CELLS, createLedgerDatabase, expectSoundBooks, type LedgerDatabase, openFunded } from './support.ts';

let database: LedgerDatabase;

beforeAll(async () => {
  database = await createLedgerDatabase();
});

afterAll(() => database.close());

describe.each(CELLS)('%s', cell => {
  /** An account with credit, a debit, an open hold and a promotional grant. */
  async function openUsed(): Promise<bigint> {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 1_000n);
    const batcher = createBatcher({ db: pool, cell });
    await batcher.submit({ kind: 'debit', accountId, id: newId(), amountNanoUsd: 100n });
    await batcher.submit({ kind: 'hold', accountId, id: newId(), amountNanoUsd: 50n, lifetimeMs: 60_000 });
    await addGrant(pool, cell, {
      accountId,
      id: newId(),
      amountNanoUsd: 7n,
      source: 'promotional',
      contra: 2,
    });
    return accountId;
  }

  /** Changes rows behind the ledger's back, as only the owner of the database can, and puts them back after. */
  async function tampered(statement: string, check: () => Promise<void>): Promise<void> {
    const client = await database.pool.connect();
    try {
      await client.query("SET session_replication_role = 'replica'");
      await client.query('BEGIN');
      await client.query(statement);
      await client.query('COMMIT');
      await client.query("SET session_replication_role = 'origin'");
      await check();
    } finally {
      client.release();
    }
  }

  async function problems(): Promise<string[]> {
    const { breaks } = await reconcileLedger(database.pool, cell);
    return [...new Set(breaks.map(found => found.problem))];
  }

  async function sealProblems(): Promise<string[]> {
    const { breaks } = await verifySeals(database.pool, cell);
    return [...new Set(breaks.map(found => found.problem))];
  }

  it.each(['transfer', 'operator_action', 'seal', 'seal_entry', 'checkpoint'])(
    'refuses to change or empty %s',
    async table => {
      const { pool } = database;
      await openUsed();
      await sealWindow(pool, cell);
      const name = `"${cell}".${table}`;
      await expect(pool.query(`TRUNCATE ${name}`)).rejects.toMatchObject({ code: '23001' });
      if (table === 'operator_action' || table === 'checkpoint') return;
      await expect(pool.query(`DELETE FROM ${name}`)).rejects.toMatchObject({ code: '23001' });
      await expect(pool.query(`UPDATE ${name} SET account_id = account_id`)).rejects.toBeDefined();
    },
  );

  it('refuses to change a partition directly', async () => {
    const { pool } = database;
    const { rows } = await pool.query<{ part: string }>(
      `SELECT inhrelid::regclass::text AS part FROM pg_inherits WHERE inhparent = '"${cell}".transfer'::regclass`,
    );
    expect(rows.length).toBeGreaterThan(3);
    for (const { part } of rows) {
      await expect(pool.query(`TRUNCATE ${part}`)).rejects.toMatchObject({ code: '23001' });
    }
  });

  it.each([
    ['posted = posted + 1', 'account', 'balance is not the sum of its transfers'],
    ['held = held + 1', 'account', 'held is not the sum of open holds'],
    ['seq = seq + 1', 'account', 'sequence has gaps'],
    ['unburned = unburned + 1', 'account', 'grants do not add up to the balance'],
    ["environment = 'test'", 'account', 'money of the other environment'],
    ['remaining = remaining - 1', 'credit_grant', 'grants do not add up to the balance'],
    ['amount = amount + 1', 'hold', 'held is not the sum of open holds'],
    ['amount = amount + 1', 'transfer', 'balance is not the sum of its transfers'],
    ['balance_after = balance_after + 1', 'transfer', 'running balance does not follow'],
    ['seq = 1', 'transfer', 'sequence number used twice'],
    ['account_id = -1', 'hold', 'rows without an account'],
  ])('finds %s of %s', async (change, table, problem) => {
    const accountId = await openUsed();
    await expectSoundBooks(database.pool, cell);
    const where = `WHERE account_id = ${accountId}`;
    await database.pool.query(`CREATE TABLE "${cell}".saved AS SELECT * FROM "${cell}".${table} ${where}`);
    await tampered(`UPDATE "${cell}".${table} SET ${change} ${where}`, async () => {
      expect(await problems()).toContain(problem);
    });
    await tampered(
      `DELETE FROM "${cell}".${table} WHERE account_id IN (${accountId}, -1);
       INSERT INTO "${cell}".${table} SELECT * FROM "${cell}".saved; DROP TABLE "${cell}".saved`,
      () => expectSoundBooks(database.pool, cell),
    );
  });

  it('rolls the system accounts up to the same numbers as the log', async () => {
    const { pool } = database;
    await openUsed();
    const before = await readSystemBalances(pool, cell);
    while (await sealWindow(pool, cell, { accounts: 3 }));
    expect(await readSystemBalances(pool, cell)).toEqual(before);
    const { rows } = await pool.query<{ posted: string }>(
      `SELECT sum(posted) AS posted FROM "${cell}".account`,
    );
    const system = before.reduce((sum, { amountNanoUsd }) => sum + amountNanoUsd, 0n);
    expect(system).toBe(-BigInt(rows[0]?.posted ?? '0'));
    await expectSoundBooks(pool, cell);
  });

  it('seals what is new, once, and finds a later edit', async () => {
    const { pool } = database;
    const accountId = await openUsed();
    expect((await sealWindow(pool, cell))?.transfers).toBeGreaterThan(2n);
    expect(await sealWindow(pool, cell)).toBeUndefined();
    await openUsed();
    const [one, two] = await Promise.all([sealWindow(pool, cell), sealWindow(pool, cell)]);
    expect([one, two].filter(seal => seal !== undefined)).toHaveLength(1);
    expect(await sealProblems()).toEqual([]);

    const set = (text: string) =>
      `UPDATE "${cell}".transfer SET ${text} WHERE account_id = ${accountId} AND seq = 2`;
    const { rows } = await pool.query<{ created_at: string }>(
      `SELECT created_at::text FROM "${cell}".transfer WHERE account_id = $1 AND seq = 2`,
      [accountId],
    );
    await tampered(set("created_at = created_at - interval '1 hour'"), async () => {
      expect(await sealProblems()).toEqual(['transfers changed']);
      // The balances still agree: only the seal can tell.
      await expectSoundBooks(pool, cell);
    });
    await tampered(set(`created_at = '${rows[0]?.created_at}'`), async () => {
      expect(await sealProblems()).toEqual([]);
    });
  });

  it('finds an edited, a removed and a cut-off block', async () => {
    const { pool } = database;
    await openUsed();
    await sealWindow(pool, cell);
    await openUsed();
    const head = await sealWindow(pool, cell);
    expect((await verifySeals(pool, cell)).head).toBe(head?.hash);
    const saved = async (table: string, statement: string, expected: string) => {
      await pool.query(`CREATE TABLE "${cell}".saved AS SELECT * FROM "${cell}".${table}`);
      await tampered(statement, async () => expect(await sealProblems()).toContain(expected));
      await tampered(
        `DELETE FROM "${cell}".${table}; INSERT INTO "${cell}".${table} SELECT * FROM "${cell}".saved;
         DROP TABLE "${cell}".saved`,
        async () => expect(await sealProblems()).toEqual([]),
      );
    };
    await saved('seal', `UPDATE "${cell}".seal SET hash = sha256('x') WHERE block = 1`, 'chain broken');
    await saved('seal', `DELETE FROM "${cell}".seal WHERE block = 1`, 'chain broken');
    await saved('seal_entry', `UPDATE "${cell}".seal_entry SET hash = sha256('x')`, 'transfers changed');
    await saved(
      'seal_entry',
      `DELETE FROM "${cell}".seal_entry WHERE block = ${head?.block}`,
      'blocks missing',
    );
    await saved('seal', `DELETE FROM "${cell}".seal WHERE block = ${head?.block}`, 'entry without block');
  });
});
