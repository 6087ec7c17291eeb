import type { StatementRow } from '../../accounts/types.ts';
import { formatUsd } from '../../lib/money.ts';
import type { TopupOutcome } from '../../topups/types.ts';
import { MINIMUM_TO_CONSUME, MINIMUM_TOPUP, SUGGESTED_TOPUP } from './limits.ts';

/**
 * The only place of this dialect where money becomes a JSON number, as the contract demands: the double
 * nearest to the exact decimal, not rounded to cents (a charge of 0.0000001 USD is an ordinary row).
 */
export function usdNumber(nanoUsd: bigint): number {
  return Number(formatUsd(nanoUsd));
}

/** The value of `X-Balance-Remaining`: six decimals, rounded down, so that it never promises more than there is. */
export function balanceRemaining(availableNanoUsd: bigint): string {
  const microUsd = (availableNanoUsd / 1_000n).toString().padStart(7, '0');
  return `${microUsd.slice(0, -6)}.${microUsd.slice(-6)}`;
}

type Credited = Extract<TopupOutcome, { kind: 'credited' }>;

export function topupBody(outcome: Credited) {
  return {
    success: true,
    data: {
      walletAddress: outcome.payer,
      amountCredited: usdNumber(outcome.amountNanoUsd),
      newBalance: usdNumber(outcome.balanceNanoUsd),
      paymentId: outcome.paymentId,
    },
  } as const;
}

export function balanceBody(wallet: string, availableNanoUsd: bigint) {
  return {
    success: true,
    data: {
      walletAddress: wallet,
      balanceUsd: usdNumber(availableNanoUsd),
      canConsume: availableNanoUsd >= MINIMUM_TO_CONSUME,
      minimumTopUpUsd: usdNumber(MINIMUM_TOPUP),
      suggestedTopUpUsd: usdNumber(SUGGESTED_TOPUP),
    },
  } as const;
}

const ROW_TYPE = { topup: 'TOP_UP', charge: 'CHARGE', refund: 'REFUND' } as const satisfies Record<
  StatementRow['kind'],
  string
>;

export function transactionsBody(
  wallet: string,
  statement: { balanceNanoUsd: bigint; rows: StatementRow[]; hasMore: boolean },
  page: { limit: number; offset: number },
) {
  return {
    success: true,
    data: {
      walletAddress: wallet,
      currentBalance: usdNumber(statement.balanceNanoUsd),
      transactions: statement.rows.map(row => ({
        id: row.id,
        amount: usdNumber(row.amountNanoUsd),
        balanceAfter: usdNumber(row.balanceAfterNanoUsd),
        type: ROW_TYPE[row.kind],
        createdAt: row.createdAt.toISOString(),
        requestId: row.requestId,
        modelId: row.modelId,
      })),
      pagination: { ...page, hasMore: statement.hasMore },
    },
  } as const;
}
