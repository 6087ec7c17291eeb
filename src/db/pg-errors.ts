import { DatabaseError } from 'pg';
import { GatewayError, unavailable } from '../lib/errors.ts';

interface PgError extends Error {
  code: string;
}

function isPgError(error: unknown): error is PgError {
  return error instanceof Error && typeof (error as Partial<PgError>).code === 'string';
}

/** object_not_in_prerequisite_state: the log has no partition for now, an operator has to make one. */
const LEDGER_CLOSED = '55000';

const CONNECTION_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOENT',
  '57P01',
  '57P02',
  '57P03',
  '53300',
  '57014',
  '55P03',
  '25P03',
  '25006',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  LEDGER_CLOSED,
]);

/** True when the database could not be reached or gave up: the statement may or may not have run. */
export function isConnectionLoss(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (isPgError(error) && (CONNECTION_CODES.has(error.code) || error.code.startsWith('08'))) return true;
  return /Connection terminated|Query read timeout|timeout exceeded when trying to connect|Client has encountered a connection error/.test(
    error.message,
  );
}

/** query_canceled (the statement's time was up) and lock_not_available. */
const GIVEN_UP = new Set(['57014', '55P03']);

/** True when the database answered that it waited too long: the statement certainly changed nothing. */
export function isGivenUp(error: unknown): boolean {
  return isPgError(error) && GIVEN_UP.has(error.code);
}

/** True when the database answered that it takes no credit now: the statement certainly changed nothing. */
export function isRefusedByLedger(error: unknown): boolean {
  return isPgError(error) && error.code === LEDGER_CLOSED;
}

/** True when the database answered with an error of the statement, which therefore certainly changed nothing. */
export function changedNothing(error: unknown): boolean {
  if (isGivenUp(error) || isRefusedByLedger(error)) return true;
  return error instanceof DatabaseError && !isConnectionLoss(error);
}

/** True for outcomes that PostgreSQL asks the client to try again: deadlock, serialization failure. */
export function isRetryable(error: unknown): boolean {
  return isPgError(error) && (error.code === '40P01' || error.code === '40001');
}

/** True when a row names one that does not exist, or no longer: perhaps only that constraint counts. */
export function violatesForeignKey(error: unknown, constraint?: string): boolean {
  if (!isPgError(error) || error.code !== '23503') return false;
  return constraint === undefined || (error as { constraint?: string }).constraint === constraint;
}

/**
 * Turns a database that is lost, or too busy to let a transaction through, into the refusal `unavailable`; passes everything
 * else on unchanged.
 */
export function asGatewayError(error: unknown): unknown {
  if (error instanceof GatewayError) return error;
  return isConnectionLoss(error) || isRetryable(error) ? unavailable('the database', error) : error;
}

/** Waits for statements on behalf of a surface: a lost database becomes the refusal `unavailable`. */
export async function orUnavailable<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw asGatewayError(error);
  }
}
