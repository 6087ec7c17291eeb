/**
 * A gateway's ledger lanes in a process of their own. Writes one line per acknowledged operation, `kind id`,
 * and at the end one line of JSON with the failures it met.
 */
import { createPool } from '../../src/db/pool.ts';
import { cellName } from '../../src/db/queryable.ts';
import { runLoad } from './load.ts';

const [databaseUrl = '', cell = '', accounts = '', inFlight = '', durationMs = ''] = process.argv.slice(2);

const pool = createPool({ databaseUrl, maxConnections: 2, onError: () => {} });
const failures = await runLoad({
  db: pool,
  cell: cellName(cell),
  accounts: Number(accounts),
  inFlight: Number(inFlight),
  durationMs: Number(durationMs),
  // Writes to a pipe are synchronous here: a kill right after cannot take the line back.
  onDone: operation => {
    process.stdout.write(`${operation.kind} ${operation.id}\n`);
  },
});
await pool.end();
process.stdout.write(`${JSON.stringify(failures)}\n`);
