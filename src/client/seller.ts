import type { HttpAnswer } from './http.ts';
import { NoAnswerError } from './http.ts';
import type { PaymentTerms, SignedPayment } from './terms.ts';
import { show } from './terms.ts';

/** What a seller says about a paid top-up; amounts as the dialect counts them. */
export interface Receipt {
  transaction: string;
  credited: string;
  balance: string;
  /** Names the payment at the seller, where it tells. */
  paymentId: string | undefined;
}

/** What came of sending a signed payment once. */
export type Attempt =
  | { kind: 'paid'; receipt: Receipt }
  /**
   * The seller did nothing with the payment, and says why. `isProven`: it says what became of the payment itself, which
   * holds for every time that it was sent; else only this sending is judged, and an earlier one may have moved money.
   */
  | { kind: 'refused'; reason: string; isProven: boolean }
  /** Nobody can tell yet: the same payment may be sent again, another one must not be signed. */
  | { kind: 'unknown'; reason: string; retryAfterSeconds: number; paymentId: string | undefined };

/** One seller's way of topping up. */
export interface Seller {
  /** Who is credited, as people recognise it. */
  account: string;
  /** @throws UnacceptableOfferError, NoAnswerError, RefusedError */
  askTerms(): Promise<PaymentTerms>;
  /** Sends the payment; may be called again with the same one. */
  pay(terms: PaymentTerms, payload: SignedPayment['payload']): Promise<Attempt>;
}

/** The seller does not make an offer. */
export class RefusedError extends Error {
  constructor(reason: string) {
    super(`the server refuses: ${reason}`);
    this.name = 'RefusedError';
  }
}

export const DEFAULT_RETRY_SECONDS = 2;
const MAX_RETRY_SECONDS = 30;

/** The attempt whose answer was lost or says that it is too early to tell. */
export function unknown(answer: HttpAnswer | NoAnswerError, paymentId?: string): Attempt {
  if (answer instanceof NoAnswerError) {
    return {
      kind: 'unknown',
      reason: answer.message,
      retryAfterSeconds: DEFAULT_RETRY_SECONDS,
      paymentId: undefined,
    };
  }
  const seconds = Number(answer.headers.get('retry-after') ?? DEFAULT_RETRY_SECONDS);
  const retryAfterSeconds = seconds >= 1 && seconds <= MAX_RETRY_SECONDS ? seconds : DEFAULT_RETRY_SECONDS;
  return { kind: 'unknown', reason: reasonOf(answer), retryAfterSeconds, paymentId };
}

/**
 * Answers of a seller that has not looked at the payment, or not further than its form. 402 is not among them: what it
 * means is for the dialect to say.
 */
export function isRefusal(status: number): boolean {
  return status >= 400 && status < 500 && ![402, 408, 409, 425, 429].includes(status);
}

/** Reasons of x402 that say that the payment was used, which is no sign that no money moved. */
export function saysUsed(reason: unknown): boolean {
  return typeof reason === 'string' && /already_used|duplicate_settlement/.test(reason);
}

/** One line of why, from either kind of error body. */
export function reasonOf({ status, json, text }: HttpAnswer): string {
  const { error, message } = (json ?? {}) as { error?: unknown; message?: unknown };
  const said = [error, message].filter(each => typeof each === 'string').map(show);
  return said.length > 0 ? said.join(': ') : `${status} ${show(text)}`.trim();
}
