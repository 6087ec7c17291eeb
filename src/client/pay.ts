import type { Attempt, Seller } from './seller.ts';
import type { PaymentTerms } from './terms.ts';
import type { Wallet } from './wallet.ts';

/** What a top-up came to. */
export type PaymentResult =
  | (Extract<Attempt, { kind: 'paid' }> & { signedUntilMs: number })
  | (Extract<Attempt, { kind: 'refused' }> & { signedUntilMs: number })
  | (Extract<Attempt, { kind: 'unknown' }> & { signedUntilMs: number });

export interface PayOptions {
  seller: Seller;
  wallet: Wallet;
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
  const { seller, wallet, terms, nowMs } = options;
  const payload = wallet.signPayment(terms, nowMs());
  const signedUntilMs = Number(payload.authorization.validBefore) * 1000;
  const deadlineMs = nowMs() + options.waitMs;
  for (;;) {
    const attempt = await seller.pay(terms, payload);
    if (attempt.kind !== 'unknown') return { ...attempt, signedUntilMs };
    const pauseMs = attempt.retryAfterSeconds * 1000;
    if (nowMs() + pauseMs > deadlineMs) return { ...attempt, signedUntilMs };
    options.onUnknown(attempt.reason);
    await options.sleep(pauseMs);
  }
}
