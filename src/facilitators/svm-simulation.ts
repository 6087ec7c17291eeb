import { unavailable } from '../lib/errors.ts';
import type { VerifyResult } from '../ports/facilitator.ts';
import type { SvmSimulation } from '../ports/svm-client.ts';

const FAILED = 'invalid_exact_svm_transaction_simulation_failed';

/** Errors of the token programs, by number. */
const TOKEN_ERRORS: Readonly<Record<number, string>> = {
  1: 'the wallet does not hold enough USDC',
  4: 'the payer may not spend from this token account',
  17: 'the token account is frozen',
};

/** Trouble of the account that pays the fee, which is ours. */
const OUR_TROUBLE = new Set(['AccountNotFound', 'InsufficientFundsForFee', 'InvalidAccountForFee']);

/**
 * What a rehearsal says about the payment.
 * @throws unavailable when it failed for want of money for the fee: that is not the payer's fault
 */
export function judgeSimulation({ slot, error }: SvmSimulation): VerifyResult {
  if (error === undefined) return { kind: 'valid', knownAt: slot };
  if (error === 'AlreadyProcessed') return { kind: 'already_used', reason: 'duplicate_settlement' };
  if (typeof error === 'string' && OUR_TROUBLE.has(error)) {
    throw unavailable('the account that pays the fee', new Error(`simulation: ${error}`));
  }
  const refusal: VerifyResult = { kind: 'invalid', reason: FAILED, message: describe(error) };
  // A node forgets what it has processed together with the blockhash.
  return error === 'BlockhashNotFound' ? { ...refusal, perhapsUsed: true } : refusal;
}

function describe(error: unknown): string {
  if (error === 'BlockhashNotFound') return 'the blockhash of the transaction is unknown or has expired';
  const [, detail] = (error as { InstructionError?: [number, unknown] }).InstructionError ?? [];
  const custom = (detail as { Custom?: unknown } | undefined)?.Custom;
  if (typeof custom === 'number') {
    return TOKEN_ERRORS[custom] ?? `a program refuses the transaction with error ${custom}`;
  }
  const name = typeof detail === 'string' ? detail : typeof error === 'string' ? error : 'unknown error';
  return `the transaction would fail: ${name}`;
}
