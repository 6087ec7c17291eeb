import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBatcher } from '../../src/ledger/batcher.ts';
import { setFrozen } from '../../src/ledger/corrections.ts';
import { addGrant } from '../../src/ledger/grants.ts';
import { readSystemBalances, reconcileLedger, verifySeals } from '../../src/ledger/reconcile.ts';
import { sealNew, sealWindow } from '../../src/ledger/seals.ts';
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

  const REFUSED = { code: '23001' };

  it.each([
    ['transfer', 'amount = 1'],
    ['operator_action', "reason = 'another'"],
    ['seal', 'transfers = 1'],
    ['seal_entry', 'transfers = 1'],
    ['checkpoint', 'amount = 1'],
  ])('refuses to change, delete or empty rows of %s', async (table, change) => {
    const { pool } = database;
    const accountId = await openUsed();
    const by = { reason: 'a test', actor: 'tester' };
    await setFrozen(pool, cell, { accountId, id: newId(), frozen: false, ...by });
    await pool.query(
      `INSERT INTO "${cell}".checkpoint VALUES ($1, '2001-01-01', 1, 0, 0, '{}', now()) ON CONFLICT DO NOTHING`,
      [accountId],
    );
    await sealWindow(pool, cell);
    const name = `"${cell}".${table}`;
    await expect(pool.query(`UPDATE ${name} SET ${change}`)).rejects.toMatchObject(REFUSED);
    await expect(pool.query(`DELETE FROM ${name}`)).rejects.toMatchObject(REFUSED);
    await expect(pool.query(`TRUNCATE ${name}`)).rejects.toMatchObject(REFUSED);
    await tampered(`DELETE FROM "${cell}".checkpoint WHERE month = '2001-01-01'`, () =>
      expectSoundBooks(pool, cell),
    );
  });

  it('refuses to change, delete or empty rows of a partition directly', async () => {
    const { pool } = database;
    await openUsed();
    const { rows } = await pool.query<{ part: string; used: boolean }>(
      `SELECT inhrelid::regclass::text AS part,
         EXISTS (SELECT FROM "${cell}".transfer t WHERE t.tableoid = inhrelid) AS used
       FROM pg_inherits WHERE inhparent = '"${cell}".transfer'::regclass`,
    );
    expect(rows.length).toBeGreaterThan(3);
    expect(rows.some(row => row.used)).toBe(true);
    for (const { part, used } of rows) {
      await expect(pool.query(`TRUNCATE ${part}`)).rejects.toMatchObject(REFUSED);
      if (!used) continue;
      await expect(pool.query(`UPDATE ${part} SET amount = 1`)).rejects.toMatchObject(REFUSED);
      await expect(pool.query(`DELETE FROM ${part}`)).rejects.toMatchObject(REFUSED);
    }
  });

  it('refuses to delete accounts and grants, and to empty what holds stand for', async () => {
    const { pool } = database;
    await openUsed();
    for (const statement of ['DELETE FROM', 'TRUNCATE'])
      for (const table of ['account', 'credit_grant'])
        await expect(
          pool.query(`${statement} "${cell}".${table}${statement === 'TRUNCATE' ? ' CASCADE' : ''}`),
        ).rejects.toMatchObject(REFUSED);
    await expect(pool.query(`TRUNCATE "${cell}".hold`)).rejects.toMatchObject(REFUSED);
  });

  it('refuses a transfer code and a contra code that nobody knows', async () => {
    const accountId = await openUsed();
    for (const [code, contra] of [
      [2, 1],
      [17, 1],
      [1, 300],
      [1, 0],
    ])
      await expect(
        database.pool.query(
          `INSERT INTO "${cell}".transfer VALUES ($1, $2, 99, -1, 0, 0, now(), 0, ${code}, ${contra})`,
          [accountId, newId()],
        ),
      ).rejects.toMatchObject({ code: '23514' });
  });

  it.each([
    ['posted = -1', 'account_no_overdraft_check'],
    ['posted = held - 1', 'account_no_overdraft_check'],
    ['held = posted + 1', 'account_no_overdraft_check'],
    ['credit_line = 5, posted = held - 6', 'account_no_overdraft_check'],
    ['credit_line = -1', 'account_credit_line_check'],
    ['held = -1', 'account_held_check'],
    ['unburned = -1', 'account_unburned_check'],
  ])('refuses an account with %s, whoever writes it', async (change, constraint) => {
    const accountId = await openUsed();
    const update = `UPDATE "${cell}".account SET ${change} WHERE account_id = ${accountId}`;
    await expect(database.pool.query(update)).rejects.toMatchObject({ code: '23514', constraint });
    await expectSoundBooks(database.pool, cell);
  });

  it.each([
    'remaining = -1',
    'remaining = amount + 1',
    'forfeited = -1',
    'forfeited = amount + 1',
    'voided_amount = forfeited + 1',
  ])('refuses a grant with %s', async change => {
    const accountId = await openUsed();
    const update = `UPDATE "${cell}".credit_grant SET ${change} WHERE account_id = ${accountId}`;
    await expect(database.pool.query(update)).rejects.toMatchObject({ code: '23514' });
  });

  it('finds an open hold that has ended, a grant of nobody, and system accounts that do not add up', async () => {
    const { pool } = database;
    const accountId = await openUsed();
    await sealWindow(pool, cell);
    const hold = `account_id = ${accountId} AND lifetime_ms = 77`;
    const cases = [
      [
        `INSERT INTO "${cell}".hold SELECT account_id, id, 1, now(), 77 FROM "${cell}".transfer
         WHERE account_id = ${accountId} AND code = 1`,
        `DELETE FROM "${cell}".hold WHERE ${hold}`,
        'an open hold has already ended',
      ],
      [
        `UPDATE "${cell}".credit_grant SET account_id = -account_id WHERE account_id = ${accountId}`,
        `UPDATE "${cell}".credit_grant SET account_id = -account_id WHERE account_id = -${accountId}`,
        'rows without an account',
      ],
      [
        `UPDATE "${cell}".contra_total SET amount = amount + 1 WHERE contra = 1`,
        `UPDATE "${cell}".contra_total SET amount = amount - 1 WHERE contra = 1`,
        'debits and credits differ',
      ],
      [
        `UPDATE "${cell}".contra_total SET contra = 99 WHERE contra = 1`,
        `UPDATE "${cell}".contra_total SET contra = 1 WHERE contra = 99`,
        'system account is not the sum of its transfers',
      ],
      [
        `UPDATE "${cell}".transfer SET balance_after = balance_after + 1
         WHERE (account_id, seq) = (SELECT account_id, seq FROM "${cell}".account WHERE account_id = ${accountId})`,
        `UPDATE "${cell}".transfer SET balance_after = balance_after - 1
         WHERE (account_id, seq) = (SELECT account_id, seq FROM "${cell}".account WHERE account_id = ${accountId})`,
        'last transfer is not the balance',
      ],
    ] as const;
    for (const [tamper, restore, problem] of cases) {
      await tampered(tamper, async () => expect(await problems()).toContain(problem));
      await tampered(restore, () => expectSoundBooks(pool, cell));
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

  it.each([
    ['operator_action', "actor = actor || '?'", "actor = rtrim(actor, '?')"],
    ['operator_action', 'uncollected = uncollected - 5', 'uncollected = uncollected + 5'],
    ['credit_grant', "source = 'paid', amount = amount + 1", "source = 'promotional', amount = amount - 1"],
    ['credit_grant', 'priority = 60', 'priority = 40'],
  ])('finds %s edited later: %s', async (table, change, back) => {
    const { pool } = database;
    const accountId = await openUsed();
    await setFrozen(pool, cell, { accountId, id: newId(), frozen: false, reason: 'a test', actor: 'tester' });
    await sealNew(pool, cell);
    const of =
      table === 'credit_grant' ? `account_id = ${accountId} AND contra = 2` : `account_id = ${accountId}`;
    await tampered(`UPDATE "${cell}".${table} SET ${change} WHERE ${of}`, async () =>
      expect(await sealProblems()).toEqual(['transfers changed']),
    );
    await tampered(`UPDATE "${cell}".${table} SET ${back} WHERE ${of}`, async () =>
      expect(await sealProblems()).toEqual([]),
    );
  });

  it('refuses to change the terms of a grant', async () => {
    const accountId = await openUsed();
    for (const change of [
      "source = 'paid'",
      'contra = 3',
      'amount = 9',
      'priority = 1',
      'expires_at = now()',
    ])
      await expect(
        database.pool.query(`UPDATE "${cell}".credit_grant SET ${change} WHERE account_id = ${accountId}`),
      ).rejects.toMatchObject(REFUSED);
  });

  it('seals every account in turn, however busy the ones before it are', async () => {
    const { pool } = database;
    const first = await openFunded(pool, cell, 100n);
    const second = await openFunded(pool, cell, 100n);
    await sealNew(pool, cell, 2);
    expect(await sealWindow(pool, cell)).toBeUndefined();
    const batcher = createBatcher({ db: pool, cell });
    const debit = (accountId: bigint) =>
      batcher.submit({ kind: 'debit', accountId, id: newId(), amountNanoUsd: 1n });
    await Promise.all([debit(first), debit(second)]);
    const sealed = [];
    for (let block = 0; block < 3; block += 1) {
      await sealWindow(pool, cell, { accounts: 1 });
      const { rows } = await pool.query<{ account_id: string }>(
        `SELECT account_id FROM "${cell}".seal_entry ORDER BY block DESC LIMIT 1`,
      );
      sealed.push(BigInt(rows[0]?.account_id ?? 0));
      await debit(first);
    }
    expect(sealed).toEqual([first, second, first]);
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
