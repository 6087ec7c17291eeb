import { Client, Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { migrate } from '../../src/db/migrate.ts';
import { type CellName, cellName } from '../../src/db/queryable.ts';
import { readBalance } from '../../src/ledger/balances.ts';
import { reconcileLedger } from '../../src/ledger/reconcile.ts';
import { applyOperations } from '../../src/ledger/spending.ts';
import { newId } from '../../src/lib/ids.ts';
import { runLoad } from './load.ts';
import { expectModelAgrees } from './model-property.ts';
import { createLedgerDatabase, type LedgerDatabase, openFunded, openMany } from './support.ts';

/** One change to one of the ledger's functions, whose newest text must have `find` exactly once. */
interface Mutation {
  of: string;
  find: string;
  replace: string;
}

const BATCH_LOCK = 'WHERE account_id = ANY (p_account) ORDER BY account_id FOR NO KEY UPDATE\n  ) l;';

let database: LedgerDatabase;

beforeAll(async () => {
  database = await createLedgerDatabase();
});

afterAll(() => database.close());

/** Installs a cell of its own, and then its functions with some of their text replaced. */
async function installMutant(name: string, mutations: readonly Mutation[]): Promise<CellName> {
  const cell = cellName(name);
  await migrate({ databaseUrl: database.databaseUrl, cells: [cell] });
  const client = new Client({ connectionString: database.databaseUrl });
  await client.connect();
  try {
    await client.query(`SET search_path TO "${cell}"`);
    for (const { of, find, replace } of mutations) {
      const { rows } = await client.query<{ text: string }>(
        `SELECT pg_get_functiondef(oid) AS text FROM pg_proc
         WHERE pronamespace = '"${cell}"'::regnamespace AND proname = $1`,
        [of],
      );
      const text = rows[0]?.text ?? '';
      expect(text.split(find).length - 1, find).toBe(1);
      await client.query(text.replaceAll(find, replace));
    }
  } finally {
    await client.end();
  }
  return cell;
}

/** Two processes' worth of lanes on the same few accounts; says what went wrong, if anything. */
async function troubleUnderLoad(cell: CellName): Promise<string[]> {
  await openMany(database.pool, cell, 12, 1_000_000_000n);
  const pools = [1, 2].map(() => new Pool({ connectionString: database.databaseUrl, max: 2 }));
  try {
    const runs = await Promise.allSettled(
      pools.map(db => runLoad({ db, cell, accounts: 12, inFlight: 48, durationMs: 2_000, onDone: () => {} })),
    );
    const trouble = runs.flatMap(run =>
      run.status === 'rejected' ? [String(run.reason)] : Object.keys(run.value),
    );
    const { breaks } = await reconcileLedger(database.pool, cell);
    return [...trouble, ...breaks.map(found => found.problem)];
  } finally {
    for (const pool of pools) await pool.end();
  }
}

/** Batches over the same many accounts, from four connections at once, until one fails; answers its SQLSTATE. */
async function firstFailureOfWideBatches(cell: CellName): Promise<string | undefined> {
  const accounts = 300;
  await openMany(database.pool, cell, accounts, 1_000_000_000n);
  const url = database.databaseUrl;
  const db = new Pool({ connectionString: url, max: 4, options: '-c deadlock_timeout=50ms' });
  const failures: string[] = [];
  async function write(): Promise<void> {
    for (let round = 0; round < 20 && failures.length === 0; round += 1) {
      const debits = Array.from({ length: accounts }, (_, i) => ({
        kind: 'debit' as const,
        accountId: BigInt(i + 1),
        id: newId(),
        amountNanoUsd: 1n,
      }));
      await applyOperations(db, cell, debits).catch((error: Error & { code?: string }) => {
        failures.push(error.code ?? error.message);
      });
    }
  }
  try {
    await Promise.all([1, 2, 3, 4].map(write));
    return failures[0];
  } finally {
    await db.end();
  }
}

describe('the load that finds what a mutation breaks', () => {
  it('finds nothing in the ledger as it is', async () => {
    const cell = await installMutant('mutant_none', []);
    expect(await troubleUnderLoad(cell)).toEqual([]);
    expect(await firstFailureOfWideBatches(cell)).toBeUndefined();
  });

  it('finds a missing lock', async () => {
    const cell = await installMutant('mutant_lock', [
      { of: 'apply', find: BATCH_LOCK, replace: BATCH_LOCK.replace(' FOR NO KEY UPDATE', '') },
      {
        of: 'apply_one',
        find: 'SELECT * INTO a FROM account WHERE account_id = p_account FOR NO KEY UPDATE',
        replace: 'SELECT * INTO a FROM account WHERE account_id = p_account',
      },
    ]);
    expect(await troubleUnderLoad(cell)).not.toEqual([]);
  });

  it('finds a missing lock of the rare operations', async () => {
    const lock = 'SELECT next_due, unburned INTO due, owed FROM account WHERE account_id = p_account';
    const cell = await installMutant('mutant_rare_lock', [
      { of: 'lock_account', find: `${lock} FOR NO KEY UPDATE;`, replace: `${lock};` },
    ]);
    expect(await troubleUnderLoad(cell)).not.toEqual([]);
  });

  it('finds a lock that a filter around it takes away', async () => {
    const cell = await installMutant('mutant_filter', [
      {
        of: 'apply',
        find: BATCH_LOCK,
        replace: BATCH_LOCK.replace(') l;', ") l WHERE l.next_due < 'infinity';"),
      },
    ]);
    expect(await troubleUnderLoad(cell)).not.toEqual([]);
  });

  it('finds locks that are taken in no order', async () => {
    const cell = await installMutant('mutant_order', [
      { of: 'apply', find: BATCH_LOCK, replace: BATCH_LOCK.replace('BY account_id', 'BY random()') },
      // The list of the locked accounts is walked in their order: only the locking itself is to be wrong.
      {
        of: 'apply',
        find: 'v_now := coalesce(p_now, clock_timestamp());',
        replace: `locked := (SELECT array_agg(x ORDER BY x.account_id) FROM unnest(locked) x);
          v_now := coalesce(p_now, clock_timestamp());`,
      },
    ]);
    expect(await firstFailureOfWideBatches(cell)).toBe('40P01');
  });

  it('finds a missing check of the key', async () => {
    const cell = await installMutant('mutant_key', [
      {
        of: 'admission',
        find: 'WHEN done_code IS NOT NULL THEN CASE kind',
        replace: 'WHEN false THEN CASE kind',
      },
    ]);
    expect(await troubleUnderLoad(cell)).not.toEqual([]);
  });
});

describe('the model', () => {
  const cases: Record<string, Mutation> = {
    'a grant that does not fold the spending in first': {
      of: 'lock_account',
      find: '    PERFORM burn_grants(p_account);',
      replace: '    NULL;',
    },
    'an order of use without the age': {
      of: 'burn_grants',
      find: 'ORDER BY priority, expires_at, created_at, id\n    LOOP\n      EXIT WHEN left_over = 0;',
      replace: 'ORDER BY priority, expires_at, id DESC\n    LOOP\n      EXIT WHEN left_over = 0;',
    },
    'expiry that takes what is held': {
      of: 'end_due_grants',
      find: 'part := least(g.remaining, a.posted - a.held);',
      replace: 'part := g.remaining;',
    },
    'a debit that takes the id of an open hold': {
      of: 'admission',
      find: '      WHEN 1 THEN 4\n',
      replace: '      WHEN 1 THEN 0\n',
    },
    'a write-off that is spent from the grants': {
      of: 'apply',
      find: 'v_unburned := v_unburned - short;',
      replace: '',
    },
    'a reversal that leaves held credit to be spent': {
      of: 'take_back',
      find: ', ends_at = least(ends_at, p_now)',
      replace: '',
    },
  };
  it.each(Object.entries(cases))('finds %s', async (name, mutation) => {
    const mutant = `mutant_${Object.keys(cases).indexOf(name)}`;
    const cell = await installMutant(mutant, [mutation]);
    await expect(
      expectModelAgrees(database.pool, cell, { seed: 1, runs: 300, shrink: false }),
    ).rejects.toThrow();
  });
});

describe('the database itself', () => {
  const CARELESS: Mutation[] = [
    {
      of: 'admission',
      find: 'WHEN available >= amount OR (kind = 1 AND argument = 2) THEN 0',
      replace: 'WHEN true THEN 0',
    },
    { of: 'apply', find: 'short := r.amount - free - coalesce(r.hold_amount, 0);', replace: 'short := 0;' },
    {
      of: 'apply_one',
      find: 'short := greatest(v_amount - available - v_hold, 0);',
      replace: 'short := 0;',
    },
  ];

  it('refuses an overdraft that the functions let through', async () => {
    const cell = await installMutant('mutant_careless', CARELESS);
    const accountId = await openFunded(database.pool, cell, 10n);
    const neighbour = await openFunded(database.pool, cell, 10n);
    const target = () => ({ accountId, id: newId() });
    const good = { kind: 'debit', accountId: neighbour, id: newId(), amountNanoUsd: 1n } as const;
    for (const tooMuch of [
      { kind: 'debit', ...target(), amountNanoUsd: 11n },
      { kind: 'hold', ...target(), amountNanoUsd: 11n, lifetimeMs: 60_000 },
    ] as const)
      for (const operations of [[tooMuch], [tooMuch, good]])
        await expect(applyOperations(database.pool, cell, operations)).rejects.toMatchObject({
          code: '23514',
          constraint: 'account_no_overdraft_check',
        });
    // What was careful by chance still works, and nobody is overdrawn.
    const results = await applyOperations(database.pool, cell, [good]);
    expect(results).toEqual([{ status: 'applied', availableNanoUsd: 9n }]);
    expect((await readBalance(database.pool, cell, accountId))?.availableNanoUsd).toBe(10n);
    expect((await reconcileLedger(database.pool, cell)).breaks).toEqual([]);
  });
});
