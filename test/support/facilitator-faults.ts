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
  /** Settles, then answers success with a text that no transaction can have as its name. */
  'names-no-transaction',
  /** Settles, and answers long after the caller has given up. */
  'slow-answer',
  /** Settles long after the caller has given up. */
  'slow-settle',
  /** Takes no connections any more once it has verified every payment that has this fault. */
  'down-after-verify',
  /** Answers a code that nobody has heard of and sends nothing. */
  'unknown-code',
  /** Refuses with a code that is only given before anything is sent, and sends nothing. */
  'refuses',
] as const;

/** More of them, which no schedule and no matrix draws. */
export const ANSWER_FAULTS = [
  /** Answers 500 to verify. */
  'verify-error',
  /** Answers verify long after the caller has given up. */
  'verify-slow',
  /** Refuses to verify with a code that nobody has heard of. */
  'verify-unknown-code',
  /** Answer settle with this status and a page or an object that is no result, and send nothing. */
  'settle-401',
  'settle-403',
  'settle-429',
  /** Settle, then answer with this status and an object that is no result and names the transaction. */
  'sent-401',
  'sent-403',
  'sent-429',
] as const;

export type FacilitatorFault = (typeof FACILITATOR_FAULTS)[number] | (typeof ANSWER_FAULTS)[number];

/** Faults with which the stub itself never moves the money, however often it is asked. */
export const NEVER_SENT: readonly FacilitatorFault[] = [
  'says-success-sent-nothing',
  'unknown-code',
  'refuses',
];

/** Commands to the stub's process; each is answered with its counts. */
export type StubCommand =
  /** What happens to the payment that has this key: the nonce of EIP-3009, or the SHA-256 of Solana's message. */
  | { kind: 'plan'; payment: string; fault: FacilitatorFault }
  /** Stops taking connections, or takes them again on the same port. */
  | { kind: 'close' }
  | { kind: 'open' }
  /** Lets settle requests wait from now on before anything is done about them, or lets all of them go on. */
  | { kind: 'hold' }
  | { kind: 'release' }
  /** How often each method was called since the start. */
  | { kind: 'counts' };

export interface StubCounts {
  verify: number;
  settle: number;
  supported: number;
  /** Payments with a settle request that waits. */
  held: string[];
  /** Settle requests by the payment's key. */
  settles: Record<string, number>;
  /** Payments after whose verification it stopped to listen. */
  lastVerified: string[];
}
