import { readFileSync } from 'node:fs';
import { Client, Pool } from 'pg';
import { migrate } from '../../src/db/migrate.ts';
import { type CellName, cellName, type Queryable, type Statement } from '../../src/db/queryable.ts';
import { withTransaction } from '../../src/db/transaction.ts';
import { createBatcher } from '../../src/ledger/batcher.ts';
import { reconcileLedger } from '../../src/ledger/reconcile.ts';
import { applyOperations, type SpendingOperation } from '../../src/ledger/spending.ts';
import { newId } from '../../src/lib/ids.ts';

export const ACCOUNTS = 10_000;
/** A million dollars each: no run may end in a refusal. */
const FUNDS = 1_000_000_000_000_000n;

/** One way of doing the same operations. */
export interface Contender {
  name: 'ledger' | 'transaction' | 'function' | 'prototype';
  /** Prepares for so many operations in flight, and returns how to perform one. */
  open(inFlight: number): Session;
  /** Throws when the books do not add up. */
  checkBooks(): Promise<void>;
}

export interface Session {
  perform(operation: SpendingOperation): Promise<void>;
  close(): Promise<void>;
}

/** The ledger and what it is measured against, each with accounts of its own in one database. */
export async function createContenders(databaseUrl: string, prototypeFile?: string): Promise<Contender[]> {
  const cells = ['bench_ledger', 'bench_transaction', 'bench_function'].map(cellName) as [
    CellName,
    CellName,
    CellName,
  ];
  await migrate({ databaseUrl, cells });
  const admin = new Client({ connectionString: databaseUrl });
  await admin.connect();
  try {
    for (const cell of cells) await fund(admin, cell);
    if (prototypeFile) await installPrototype(admin, prototypeFile);
    await admin.query('VACUUM ANALYZE');
  } finally {
    await admin.end();
  }
  const books = (cell: CellName) => () => checkBooks(databaseUrl, cell);
  const contenders: Contender[] = [
    { name: 'ledger', open: () => batched(databaseUrl, cells[0]), checkBooks: books(cells[0]) },
    { name: 'transaction', open: n => transactions(databaseUrl, cells[1], n), checkBooks: books(cells[1]) },
    { name: 'function', open: n => singleCalls(databaseUrl, cells[2], n), checkBooks: books(cells[2]) },
  ];
  if (prototypeFile)
    contenders.push({
      name: 'prototype',
      open: () => batched(databaseUrl, cells[0], prototypeOver),
      checkBooks: () => checkPrototype(databaseUrl),
    });
  return contenders;
}

/** Writes out what earlier runs have left in memory, which would else happen in the middle of the next one. */
export async function finishWrites(databaseUrl: string): Promise<void> {
  const admin = new Client({ connectionString: databaseUrl });
  await admin.connect();
  try {
    await admin.query('CHECKPOINT');
  } finally {
    await admin.end();
  }
}

async function fund(admin: Client, cell: CellName): Promise<void> {
  await admin.query(`SELECT count("${cell}".open_account(i, 'live')) FROM generate_series(1, ${ACCOUNTS}) i`);
  await admin.query(
    `SELECT count("${cell}".add_grant(i, id, $2, 'paid', 100::smallint, 50::smallint, NULL))
     FROM unnest($1::uuid[]) WITH ORDINALITY AS q(id, i)`,
    [Array.from({ length: ACCOUNTS }, () => newId()), FUNDS],
  );
}

async function checkBooks(databaseUrl: string, cell: CellName): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { breaks } = await reconcileLedger(client, cell);
    if (breaks.length > 0) throw new Error(`${cell}: ${JSON.stringify(breaks[0]?.problem)}`);
  } finally {
    await client.end();
  }
}

function succeed(status: string): void {
  if (status !== 'applied') throw new Error(`an operation was ${status}`);
}

/** The product's path: the batcher with its two lanes. */
function batched(
  databaseUrl: string,
  cell: CellName,
  wrap: (pool: Pool) => Queryable = pool => pool,
): Session {
  const pool = new Pool({ connectionString: databaseUrl, max: 2 });
  const batcher = createBatcher({ db: wrap(pool), cell });
  return {
    perform: async operation => succeed((await batcher.submit(operation)).status),
    async close() {
      await batcher.drain();
      await pool.end();
    },
  };
}

/** One call of the scalar function for every operation. */
function singleCalls(databaseUrl: string, cell: CellName, inFlight: number): Session {
  const pool = new Pool({ connectionString: databaseUrl, max: Math.min(inFlight, 32) });
  return {
    async perform(operation) {
      const [result] = await applyOperations(pool, cell, [operation]);
      succeed(result?.status ?? '');
    },
    close: () => pool.end(),
  };
}

/** What an application would write itself: BEGIN, lock, check, insert, update, COMMIT, with named statements. */
function transactions(databaseUrl: string, cell: CellName, inFlight: number): Session {
  const pool = new Pool({ connectionString: databaseUrl, max: Math.min(inFlight, 32) });
  const run = (db: Queryable, name: string, text: string, values: unknown[]) =>
    db.query<{ available: string; seq: string; posted: string; amount: string }>({ name, text, values });
  const lock = (db: Queryable, operation: SpendingOperation) =>
    run(
      db,
      'lock',
      `SELECT posted - held AS available, seq, posted FROM "${cell}".account WHERE account_id = $1 FOR NO KEY UPDATE`,
      [operation.accountId],
    );

  async function debit(
    db: Queryable,
    operation: SpendingOperation,
    amount: bigint,
    held: bigint,
    code: number,
  ) {
    await run(
      db,
      'insert_transfer',
      `INSERT INTO "${cell}".transfer
         (account_id, id, seq, amount, balance_after, hold_amount, created_at, hold_lifetime_ms, code, contra)
       SELECT account_id, $2, seq + 1, -$3::bigint, posted - $3::bigint, $4, now(), 0, $5, 1
       FROM "${cell}".account WHERE account_id = $1`,
      [operation.accountId, operation.id, amount, held, code],
    );
    await run(
      db,
      'update_account',
      `UPDATE "${cell}".account SET posted = posted - $2::bigint, unburned = unburned + $2::bigint,
         held = held - $3::bigint, seq = seq + 1 WHERE account_id = $1`,
      [operation.accountId, amount, held],
    );
  }

  return {
    perform: operation =>
      withTransaction(pool, async db => {
        const { rows } = await lock(db, operation);
        const amount = 'amountNanoUsd' in operation ? operation.amountNanoUsd : 0n;
        if (operation.kind === 'capture') {
          const hold = await run(
            db,
            'delete_hold',
            `DELETE FROM "${cell}".hold WHERE account_id = $1 AND id = $2 RETURNING amount`,
            [operation.accountId, operation.id],
          );
          await debit(db, operation, amount, BigInt(hold.rows[0]?.amount ?? '0'), 3);
          return;
        }
        if (BigInt(rows[0]?.available ?? '0') < amount) throw new Error('insufficient');
        if (operation.kind === 'debit') {
          await debit(db, operation, amount, 0n, 1);
          return;
        }
        await run(
          db,
          'insert_hold',
          `INSERT INTO "${cell}".hold (account_id, id, amount, expires_at, lifetime_ms)
           VALUES ($1, $2, $3, now() + interval '1 minute', 60000)`,
          [operation.accountId, operation.id, amount],
        );
        await run(
          db,
          'add_held',
          `UPDATE "${cell}".account SET held = held + $2::bigint WHERE account_id = $1`,
          [operation.accountId, amount],
        );
      }),
    close: () => pool.end(),
  };
}

async function installPrototype(admin: Client, file: string): Promise<void> {
  await admin.query(readFileSync(file, 'utf8'));
  await admin.query(
    `INSERT INTO l.account (account_id, tenant_id, posted) SELECT i, 1, $1 FROM generate_series(1, ${ACCOUNTS}) i`,
    [FUNDS],
  );
}

/** Sends the batcher's calls to the prototype's functions, which take the same arrays without a time. */
function prototypeOver(pool: Pool): Queryable {
  return {
    query: (statement: Statement) => {
      const single = statement.name.startsWith('ledger_apply_one');
      const name = single ? 'apply1' : 'apply';
      return pool.query({
        name,
        text: `SELECT st AS status, bal AS available FROM l.${name}($1, $2, $3, $4, $5)`,
        values: statement.values.slice(0, 5),
      });
    },
  };
}

async function checkPrototype(databaseUrl: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ wrong: string }>(
      `SELECT count(*) AS wrong FROM l.account a
       LEFT JOIN (SELECT account_id, sum(amount) AS amount, count(*) AS n FROM l.transfer GROUP BY 1) t USING (account_id)
       LEFT JOIN (SELECT account_id, sum(amount) AS amount FROM l.hold GROUP BY 1) h USING (account_id)
       WHERE a.posted <> $1 + coalesce(t.amount, 0) OR a.seq <> coalesce(t.n, 0) OR a.held <> coalesce(h.amount, 0)`,
      [FUNDS],
    );
    if (rows[0]?.wrong !== '0') throw new Error('the prototype has wrong books');
  } finally {
    await client.end();
  }
}
