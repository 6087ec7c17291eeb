import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { adjust, refund, reverseTransfer, setCreditLine, setFrozen } from '../../src/ledger/corrections.ts';
import { addGrant, voidGrant } from '../../src/ledger/grants.ts';
import { sealWindow } from '../../src/ledger/seals.ts';
import { applyOperations } from '../../src/ledger/spending.ts';
import { sweep } from '../../src/ledger/sweeps.ts';
import { newId } from '../../src/lib/ids.ts';
import { CELLS, createLedgerDatabase, type LedgerDatabase, openFunded } from './support.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const GUIDE = readFileSync(path.join(ROOT, 'docs/scale.md'), 'utf8');

let database: LedgerDatabase;
/** One connection that notes every warning. */
let watched: Pool;
let warnings: string[] = [];

beforeAll(async () => {
  database = await createLedgerDatabase();
  watched = new Pool({ connectionString: database.databaseUrl, max: 1 });
  watched.on('connect', client => {
    client.on('notice', notice => {
      if (notice.severity === 'WARNING') warnings.push(notice.message ?? '');
    });
  });
});

afterAll(async () => {
  await watched.end();
  await database.close();
});

/** The guide's SQL for one of the two guards, for a cell, as it answers on the coordinator. */
function guardOf(name: string, cell: string): string {
  const start = GUIDE.indexOf(`CREATE OR REPLACE FUNCTION cell_1.${name}()`);
  expect(start).toBeGreaterThan(0);
  const text = GUIDE.slice(start, GUIDE.indexOf('END $$;', start) + 'END $$;'.length);
  return text
    .replaceAll('cell_1.', `"${cell}".`)
    .replace('(SELECT groupid FROM pg_catalog.pg_dist_local_group)', '0');
}

describe.each(CELLS)('%s: a call that was not passed to the node of its cell', cell => {
  const by = { reason: 'a test', actor: 'tester' };

  it('is refused where it stands alone, and warned about where it may be part of something', async () => {
    const { pool } = database;
    const accountId = await openFunded(pool, cell, 100n);
    const debitId = newId();
    const debit = () => ({ kind: 'debit', accountId, id: newId(), amountNanoUsd: 5n }) as const;
    await applyOperations(pool, cell, [{ ...debit(), id: debitId }]);
    const orders = [
      () =>
        addGrant(watched, cell, { accountId, id: newId(), amountNanoUsd: 1n, source: 'paid', contra: 100 }),
      () => voidGrant(watched, cell, { accountId, id: newId(), grantId: newId(), ...by }),
      () => refund(watched, cell, { accountId, id: newId(), originalId: debitId, amountNanoUsd: 1n, ...by }),
      () => reverseTransfer(watched, cell, { accountId, id: newId(), originalId: debitId, ...by }),
      () => adjust(watched, cell, { accountId, id: newId(), amountNanoUsd: 1n, contra: 6, ...by }),
      () => setFrozen(watched, cell, { accountId, id: newId(), frozen: false, ...by }),
      () => setCreditLine(watched, cell, { accountId, id: newId(), amountNanoUsd: 1n, ...by }),
    ];
    const alone = [
      () => applyOperations(pool, cell, [debit()]),
      () => applyOperations(pool, cell, [debit(), debit()]),
      () => sweep(pool, cell),
      () => sealWindow(pool, cell),
      () => pool.query(`SELECT accounts FROM "${cell}".sweep_grants(1)`),
    ];
    for (const call of alone) await call();
    await pool.query(guardOf('assert_on_cell_node', cell));
    await pool.query(guardOf('warn_off_cell_node', cell));
    for (const call of alone) await expect(call()).rejects.toMatchObject({ code: '55000' });
    for (const order of orders) {
      warnings = [];
      await order();
      expect(warnings).toEqual(['an order was not passed to the node of its cell']);
    }
  });
});

describe('docs/scale.md', () => {
  /** Functions that change the layout of tables: Citus wants that from the coordinator. */
  const OF_THE_COORDINATOR = ['ensure_transfer_partitions', 'close_transfer_month', 'detach_transfer_month'];

  it('delegates every function of a cell that the program calls', () => {
    const sources = readdirSync(path.join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
      .filter(file => file.endsWith('.ts'))
      .map(file => readFileSync(path.join(ROOT, 'src', file), 'utf8'));
    // Bare calls, calls of callLedger, and the two audits that share a statement.
    const patterns = [
      /"\$\{\w+\}"\.(\w+)\(/g,
      /callLedger\(db, cell, '(\w+)'/g,
      /listBreaks\(db, cell, '(\w+)'/g,
    ];
    const called = sources.flatMap(text =>
      patterns.flatMap(pattern => [...text.matchAll(pattern)].map(found => found[1] ?? '')),
    );
    const expected = new Set(called.filter(name => name !== 'id_at' && !OF_THE_COORDINATOR.includes(name)));
    expect(expected.size).toBeGreaterThan(25);
    const list = /proname IN \(([^)]*)\)/.exec(GUIDE)?.[1] ?? '';
    const listed = [...list.matchAll(/'(\w+)'/g)].map(found => found[1] ?? '');
    expect(listed.toSorted()).toEqual([...expected].toSorted());
    for (const name of OF_THE_COORDINATOR) expect(GUIDE).toContain(name);
  });
});
