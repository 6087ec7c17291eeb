/** What the stub facilitator does to one payment; `honest` does what the official classes do. */
export const FACILITATOR_FAULTS = [
  'honest',
  /** Settles, then closes the connection without an answer. */
  'lost-reply',
  /** Its own node takes the transaction and does not answer, so that the official scheme reports a failure. */
  'lost-broadcast-reply',
  /** Settles, then answers 500 as a crashed proxy does. */
  'error-after-settle',
  /** Answers success with a made-up transaction and sends nothing. */
  'says-success-sent-nothing',
  /** Settles, then answers that the transaction failed. */
  'says-failure-but-sent',
  /** Settles, then answers with a code that means that nothing was sent. */
  'says-refused-but-sent',
  /** Settles, then answers success with somebody else's transaction. */
  'names-another-transaction',
  /** Settles, and answers long after the caller has given up. */
  'slow-answer',
  /** Settles long after the caller has given up. */
  'slow-settle',
  /** Takes no connections any more once it has verified the payment. */
  'down-after-verify',
  /** Answers a code that nobody has heard of and sends nothing. */
  'unknown-code',
  /** Refuses with a code that is only given before anything is sent, and sends nothing. */
  'refuses',
] as const;

export type FacilitatorFault = (typeof FACILITATOR_FAULTS)[number];

/** Commands to the stub's process; each is answered with `{ done: true }`. */
export type StubCommand =
  /** What happens to the payment with this EIP-3009 nonce. */
  | { kind: 'plan'; nonce: string; fault: FacilitatorFault }
  /** Stops taking connections, or takes them again on the same port. */
  | { kind: 'close' }
  | { kind: 'open' }
  /** How often each method was called since the start. */
  | { kind: 'counts' };

export interface StubCounts {
  verify: number;
  settle: number;
  supported: number;
}
