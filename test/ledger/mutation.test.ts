import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Client, Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CellName, cellName } from '../../src/db/queryable.ts';
import { reconcileLedger } from '../../src/ledger/reconcile.ts';
import { runLoad } from './load.ts';
import { expectModelAgrees } from './model-property.ts';
import { createLedgerDatabase, type LedgerDatabase, openMany } from './support.ts';

/** One change to the ledger's SQL: the text must be found exactly as often as it says. */
interface Mutation {
  find: string;
  replace: string;
  times: number;
}

const MIGRATIONS = path.resolve(import.meta.dirname, '../../migrations/cell');

const BATCH_LOCK = `SELECT account_id, next_due FROM account WHERE account_id = ANY (p_account)
    ORDER BY account_id FOR NO KEY UPDATE`;

let database: LedgerDatabase;

beforeAll(async () => {
  database = await createLedgerDatabase();
});

afterAll(() => database.close());

/** Installs the ledger with some of its text replaced, as a cell of its own. */
async function installMutant(name: string, mutations: readonly Mutation[]): Promise<CellName> {
  const cell = cellName(name);
  const files = readdirSync(MIGRATIONS).filter(file => file.includes('_ledger_'));
  let text = files
    .toSorted()
    .map(file => readFileSync(path.join(MIGRATIONS, file), 'utf8'))
    .join('\n');
  for (const { find, replace, times } of mutations) {
    expect(text.split(find).length - 1, find).toBe(times);
    text = text.replaceAll(find, replace);
  }
  const client = new Client({ connectionString: database.databaseUrl });
  await client.connect();
  try {
    await client.query(`CREATE SCHEMA "${cell}"`);
    await client.query(`SET search_path TO "${cell}"`);
    await client.query(text);
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

describe('the load that finds what a mutation breaks', () => {
  it('finds nothing in the ledger as it is', async () => {
    expect(await troubleUnderLoad(await installMutant('mutant_none', []))).toEqual([]);
  });

  it('finds a missing lock', async () => {
    const cell = await installMutant('mutant_lock', [
      { find: BATCH_LOCK, replace: BATCH_LOCK.replace(' FOR NO KEY UPDATE', ''), times: 1 },
      {
        find: 'SELECT * INTO a FROM account WHERE account_id = p_account FOR NO KEY UPDATE',
        replace: 'SELECT * INTO a FROM account WHERE account_id = p_account',
        times: 1,
      },
    ]);
    expect(await troubleUnderLoad(cell)).not.toEqual([]);
  });

  it('finds a lock that a filter around it takes away', async () => {
    const cell = await installMutant('mutant_filter', [
      {
        find: BATCH_LOCK,
        replace: `SELECT z.account_id, z.next_due FROM (${BATCH_LOCK}) z WHERE z.next_due < 'infinity'`,
        times: 1,
      },
    ]);
    expect(await troubleUnderLoad(cell)).not.toEqual([]);
  });

  it('finds locks that are taken in no order', async () => {
    const cell = await installMutant('mutant_order', [
      { find: BATCH_LOCK, replace: BATCH_LOCK.replace('BY account_id', 'BY random()'), times: 1 },
      // The list of the locked accounts is walked in their order: only the locking itself is to be wrong.
      {
        find: '  v_now := coalesce(p_now, clock_timestamp());\n  IF cardinality(ending) > 0 THEN',
        replace: `  locked := (SELECT array_agg(x ORDER BY x) FROM unnest(locked) x);
          v_now := coalesce(p_now, clock_timestamp());\n  IF cardinality(ending) > 0 THEN`,
        times: 1,
      },
    ]);
    expect(await troubleUnderLoad(cell)).toContain('40P01');
  });

  it('finds a missing check of the key', async () => {
    const cell = await installMutant('mutant_key', [
      { find: 'WHEN done_code IS NOT NULL THEN CASE kind', replace: 'WHEN false THEN CASE kind', times: 1 },
    ]);
    expect(await troubleUnderLoad(cell)).not.toEqual([]);
  });
});

describe('the model', () => {
  const cases: Record<string, Mutation> = {
    'a grant that does not fold the spending in first': {
      find: '  ELSE\n    PERFORM burn_grants(p_account);',
      replace: '  ELSE\n    NULL;',
      times: 1,
    },
    'an order of use without the age': {
      find: 'ORDER BY priority, expires_at, created_at, id\n    LOOP\n      EXIT WHEN left_over = 0;',
      replace: 'ORDER BY priority, expires_at, id DESC\n    LOOP\n      EXIT WHEN left_over = 0;',
      times: 1,
    },
    'expiry that takes what is held': {
      find: 'part := least(g.remaining, a.posted - a.held);',
      replace: 'part := g.remaining;',
      times: 1,
    },
    'a debit that takes the id of an open hold': {
      find: '      WHEN 1 THEN 4\n',
      replace: '      WHEN 1 THEN 0\n',
      times: 1,
    },
    'a write-off that is spent from the grants': {
      find: 'v_unburned := v_unburned - short;',
      replace: '',
      times: 1,
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
