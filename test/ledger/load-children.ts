import { spawn } from 'node:child_process';
import path from 'node:path';
import type { Pool } from 'pg';
import { expect } from 'vitest';
import type { CellName } from '../../src/db/queryable.ts';
import type { Failures } from './load.ts';

export interface LoadRun {
  /** `kind id` of every acknowledged operation. */
  done: string[];
  /** Undefined when the process was killed. */
  failures: Failures | undefined;
}

/** Runs the load in a process of its own, and kills it with SIGKILL after `killAfterMs`, if given. */
export function spawnLoad(
  databaseUrl: string,
  cell: CellName,
  options: { accounts: number; inFlight: number; durationMs: number; killAfterMs?: number },
): Promise<LoadRun> {
  const script = path.join(import.meta.dirname, 'load-process.ts');
  const values = [options.accounts, options.inFlight, options.durationMs].map(String);
  const child = spawn(process.execPath, ['--import', 'tsx', script, databaseUrl, cell, ...values], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    // The clock starts with the first answer: starting Node takes a time of its own.
    if (output === '' && options.killAfterMs !== undefined)
      setTimeout(() => child.kill('SIGKILL'), options.killAfterMs);
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code !== 0 && signal !== 'SIGKILL') {
        reject(new Error(`the load failed: ${errors}`));
        return;
      }
      // What follows the last line break was cut off by the kill.
      const lines = output.slice(0, output.lastIndexOf('\n')).split('\n');
      const failures = signal ? undefined : (JSON.parse(lines.pop() ?? '') as Failures);
      resolve({ done: lines.filter(line => line !== ''), failures });
    });
  });
}

/** What the load does beside spending. */
export const ORDERS = ['grant', 'refund', 'reverse', 'void', 'adjust', 'unfreeze', 'line'];

/**
 * Every acknowledged operation is in the books exactly once: debits, captures, releases and orders as a transfer,
 * holds as an open hold or as the transfer that ended them.
 */
export async function expectAllBooked(pool: Pool, cell: CellName, done: readonly string[]): Promise<void> {
  const idsOf = (...kinds: string[]) => [
    ...new Set(done.filter(line => kinds.includes(line.split(' ')[0] ?? '')).map(line => line.split(' ')[1])),
  ];
  const ended = idsOf('debit', 'capture', 'release', ...ORDERS);
  const held = idsOf('hold', 'renew');
  expect(ended.length).toBeGreaterThan(0);
  expect(held.length).toBeGreaterThan(0);
  const count = async (text: string, ids: unknown[]) => {
    const { rows } = await pool.query<{ rows: string; ids: string }>(text, [ids]);
    return { rows: Number(rows[0]?.rows), ids: Number(rows[0]?.ids) };
  };
  const transfers = `SELECT id FROM "${cell}".transfer WHERE id = ANY($1::uuid[]) AND code <> 5`;
  const holds = `SELECT id FROM "${cell}".hold WHERE id = ANY($1::uuid[])`;
  const totals = (rows: string) => `SELECT count(*) AS rows, count(DISTINCT id) AS ids FROM (${rows}) found`;
  expect(await count(totals(transfers), ended)).toEqual({ rows: ended.length, ids: ended.length });
  expect(await count(totals(`${transfers} UNION ALL ${holds}`), held)).toEqual({
    rows: held.length,
    ids: held.length,
  });
}
