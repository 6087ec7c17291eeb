import type { SealedMember } from '../webhooks/events.ts';
import { toCents } from './cents.ts';
import type { SentTopup } from './types.ts';

/** `data` of the event that tells what became of a top-up; the wire contract of aitopup names the members. */
export function topupPayload(
  topup: SentTopup,
  end: { voucher: SealedMember; newBalanceNanoUsd: bigint } | { refunded: true; reason?: string },
): Record<string, unknown> {
  const isDelivered = 'voucher' in end;
  return {
    voucher_code: isDelivered ? end.voucher : null,
    platform: topup.platform,
    amount_cents: toCents(topup.amountNanoUsd),
    new_balance_cents: isDelivered ? toCents(end.newBalanceNanoUsd) : null,
    recipient_email: topup.recipientEmail ?? null,
    reference: topup.reference ?? null,
    metadata: topup.metadata,
    ...(!isDelivered && { refunded_cents: toCents(topup.amountNanoUsd) }),
    ...(!isDelivered && end.reason !== undefined && { failure_reason: end.reason }),
  };
}
