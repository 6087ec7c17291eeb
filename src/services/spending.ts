import { createPool } from '../db/pool.ts';
import { createSpendingService, type SpendingService } from '../ledger/spending-service.ts';
import type { Log } from '../ports/log.ts';

/** A lane waits for its database call, so two lanes never need a third connection. */
const LANES = 2;

/** A batch of 500 takes some 30 ms; far beyond that the database is in trouble. */
const STATEMENT_TIMEOUT_MS = 5_000;

/** One locked account holds its lane up for this long, and then is left out. */
const LOCK_TIMEOUT_MS = 1_000;

const ANSWER_TIMEOUT_MS = 7_000;

/**
 * Spending over connections of its own: payments that wait for a chain hold none of them, and their short
 * timeouts would not suit anything else.
 */
export function createSpending(options: { databaseUrl: string; cellCount: number; log: Log }): {
  spending: SpendingService;
  close: () => Promise<void>;
} {
  const { log } = options;
  const pool = createPool({
    databaseUrl: options.databaseUrl,
    maxConnections: LANES * options.cellCount,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    lockTimeoutMs: LOCK_TIMEOUT_MS,
    answerTimeoutMs: ANSWER_TIMEOUT_MS,
    onError: error => log.error({ err: error }, 'idle database connection of spending broke'),
  });
  const spending = createSpendingService({
    db: pool,
    lanes: LANES,
    onFailure: error => log.warn({ err: error }, 'a ledger call failed; its operations ask again'),
  });
  return { spending, close: () => pool.end() };
}
