import { Pool } from 'pg';

export interface PoolOptions {
  databaseUrl: string;
  maxConnections: number;
  /** Any single statement is cancelled after this; a hung query must not hold a request or a lock. */
  statementTimeoutMs?: number;
  /** A statement that waits longer than this for a row lock is cancelled. */
  lockTimeoutMs?: number;
  /** A connection that has not answered after this is closed: a network may swallow question and answer. */
  answerTimeoutMs?: number;
  onError: (error: Error) => void;
}

/** One process-wide pool. Idle connections that break are reported, replaced on the next use. */
export function createPool(options: PoolOptions): Pool {
  const pool = new Pool({
    connectionString: options.databaseUrl,
    max: options.maxConnections,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    statement_timeout: options.statementTimeoutMs ?? 15_000,
    ...(options.lockTimeoutMs === undefined ? {} : { lock_timeout: options.lockTimeoutMs }),
    ...(options.answerTimeoutMs === undefined ? {} : { query_timeout: options.answerTimeoutMs }),
    idle_in_transaction_session_timeout: 15_000,
    application_name: 'x402-topup-gateway',
    keepAlive: true,
  });
  pool.on('error', options.onError);
  // The pool listens to connections that are idle. One that breaks inside a transaction, or while it is being closed, tells
  // whoever waits for its statement; with nobody to hear it besides, its event would end the process.
  pool.on('connect', client => client.on('error', () => undefined));
  return pool;
}
