/**
 * A gateway's ledger lanes in a process of their own. Writes one line per acknowledged operation, `kind id`,
 * and at the end one line of JSON with the failures it met.
 */
import { writeSync } from 'node:fs';
import { createPool } from '../../src/db/pool.ts';
import { cellName } from '../../src/db/queryable.ts';
import { runLoad } from './load.ts';

const [databaseUrl = '', cell = '', accounts = '', inFlight = '', durationMs = ''] = process.argv.slice(2);

const MAX_WRITE_ATTEMPTS = 10_000;

/** A full pipe refuses for a moment (EAGAIN); the reader makes room, so the line is offered again. */
function writeLine(line: string): void {
  let rest = Buffer.from(`${line}\n`);
  for (let attempt = 0; rest.length > 0; attempt += 1) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || attempt === MAX_WRITE_ATTEMPTS) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

const pool = createPool({ databaseUrl, maxConnections: 2, onError: () => {} });
const failures = await runLoad({
  db: pool,
  cell: cellName(cell),
  accounts: Number(accounts),
  inFlight: Number(inFlight),
  durationMs: Number(durationMs),
  // Written to the pipe before anything else happens: a kill right after cannot take the line back.
  onDone: operation => writeLine(`${operation.kind} ${operation.id}`),
});
await pool.end();
writeLine(JSON.stringify(failures));
