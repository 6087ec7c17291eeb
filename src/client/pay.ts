import { type Attempt, DEFAULT_RETRY_SECONDS, type Seller } from './seller.ts';
import type { PaymentTerms, SignedPayment } from './terms.ts';

/** What a top-up came to, and until when what was signed for it can be settled. */
export type PaymentResult = Attempt & Omit<SignedPayment, 'payload'>;

export interface PayOptions {
  seller: Seller;
  terms: PaymentTerms;
  /** How long to go on asking while nobody can tell. */
  waitMs: number;
  nowMs: () => number;
  sleep: (ms: number) => Promise<void>;
  /** Told why it takes longer. */
  onUnknown: (reason: string) => void;
}

/**
 * Signs once and sends that one payment until somebody can tell what became of it. A second signature is never
 * made: it would be a second payment.
 */
export async function payOnce(options: PayOptions): Promise<PaymentResult> {
  const { seller, terms, nowMs } = options;
  const { payload, ...validity } = await terms.sign(terms.amountBaseUnits, nowMs());
  const deadlineMs = nowMs() + options.waitMs;
  let earlier: Unknown | undefined;
  for (;;) {
    const attempt = afterUnknown(await seller.pay(terms, payload), earlier);
    if (attempt.kind !== 'unknown') return { ...attempt, ...validity };
    const pauseMs = attempt.retryAfterSeconds * 1000;
    if (nowMs() + pauseMs > deadlineMs) return { ...attempt, ...validity };
    earlier = attempt;
    options.onUnknown(attempt.reason);
    await options.sleep(pauseMs);
  }
}

type Unknown = Extract<Attempt, { kind: 'unknown' }>;

/** What an attempt says of the payment when an earlier one may have moved its money. */
function afterUnknown(attempt: Attempt, earlier: Unknown | undefined): Attempt {
  if (!earlier || attempt.kind === 'paid' || (attempt.kind === 'refused' && attempt.isProven)) return attempt;
  const paymentId = (attempt.kind === 'unknown' ? attempt.paymentId : undefined) ?? earlier.paymentId;
  if (attempt.kind === 'unknown') return { ...attempt, paymentId };
  const { reason } = attempt;
  return { kind: 'unknown', reason, retryAfterSeconds: DEFAULT_RETRY_SECONDS, paymentId };
}
