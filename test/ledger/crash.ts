import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Pool } from 'pg';
import { migrate } from '../../src/db/migrate.ts';
import { type CellName, type Queryable } from '../../src/db/queryable.ts';
import { sleep } from '../../src/lib/deadline.ts';
import { type LocalPostgres, startLocalPostgres } from '../../src/local/postgres.ts';
import { runLoad } from './load.ts';
import { expectAllBooked, spawnLoad } from './load-children.ts';
import { CELLS, expectSoundBooks, openMany } from './support.ts';

const ACCOUNTS = 50;
const FUNDS = 1_000_000_000n;

/** A database server of its own, with fsync on, that can be killed and started again. */
async function startServer(dataDir: string): Promise<{ server: LocalPostgres; pool: Pool }> {
  const server = await startLocalPostgres({ dataDir, log: () => {} });
  const pool = new Pool({ connectionString: server.databaseUrl, max: 4 });
  pool.on('error', () => {});
  return { server, pool };
}

/** SIGKILL to the postmaster and to every process of it: nothing is flushed, nothing is said goodbye. */
async function killServer(pool: Pool): Promise<void> {
  const { rows } = await pool.query<{ pid: number }>(
    `SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int AS pid
     UNION ALL SELECT pid FROM pg_stat_activity`,
  );
  for (const { pid } of rows) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      // A child that ended by itself when the postmaster was gone.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

/**
 * Kills the database in the middle of load, `rounds` times, while the same lanes go on. Everything that was
 * acknowledged must be there, once, and the books must be sound.
 */
export async function surviveDatabaseKills(rounds: number, cell: CellName): Promise<void> {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'topup-gateway-crash-'));
  let current = await startServer(dataDir);
  try {
    await migrate({ databaseUrl: current.server.databaseUrl, cells: CELLS });
    await openMany(current.pool, cell, ACCOUNTS, FUNDS);
    const db: Queryable = { query: statement => current.pool.query(statement) };
    const done: string[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const load = runLoad({
        db,
        cell,
        accounts: ACCOUNTS,
        inFlight: 64,
        durationMs: 2_000,
        onDone: operation => done.push(`${operation.kind} ${operation.id}`),
      });
      await sleep(500 + Math.random() * 500);
      const before = done.length;
      await killServer(current.pool);
      const dead = current;
      await dead.server.stop();
      current = await startServer(dataDir);
      void dead.pool.end();
      await load;
      if (done.length === before) throw new Error('the load did not go on after the crash');
      await expectAllBooked(current.pool, cell, done);
      await expectSoundBooks(current.pool, cell);
    }
  } finally {
    await current.pool.end();
    await current.server.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

/** Kills a process with lanes of its own in the middle of load, `rounds` times. */
export async function surviveProcessKills(
  databaseUrl: string,
  pool: Pool,
  rounds: number,
  cell: CellName,
): Promise<void> {
  await openMany(pool, cell, ACCOUNTS, FUNDS);
  for (let round = 0; round < rounds; round += 1) {
    const run = await spawnLoad(databaseUrl, cell, {
      accounts: ACCOUNTS,
      inFlight: 64,
      durationMs: 30_000,
      killAfterMs: 300 + Math.random() * 500,
    });
    if (run.failures) throw new Error('the load ended before it was killed');
    await expectAllBooked(pool, cell, run.done);
    await expectSoundBooks(pool, cell);
  }
}
