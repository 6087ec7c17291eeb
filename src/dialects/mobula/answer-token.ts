import { createHash, randomBytes } from 'node:crypto';
import { GatewayError } from '../../lib/errors.ts';
import type { TopupOutcome } from '../../topups/types.ts';

/**
 * A settled payment is public: whoever reads the chain can rebuild it, signature and all, and present it again. Its
 * answer may hold the agent's keys, so an offer carries a token that never reaches a chain. Clients of version 2 send
 * the offer back with their payment, and only who sends this token back is told the keys once more.
 */
export const ANSWER_TOKEN = 'answerToken';

const MAX_TOKEN_LENGTH = 100;

export function newAnswerToken(): string {
  return randomBytes(16).toString('base64url');
}

/** The token that a payment header brings back, as it is stored; undefined where the client does not send it. */
export function readAnswerTag(root: unknown): string | undefined {
  const { accepted } = root as { accepted?: { extra?: Record<string, unknown> } };
  const token = accepted?.extra?.[ANSWER_TOKEN];
  if (typeof token !== 'string' || token === '' || token.length > MAX_TOKEN_LENGTH) return undefined;
  return createHash('sha256').update(token).digest('hex');
}

/** @throws GatewayError payment_conflict when a payment was answered before, and to somebody else for all we know */
export function requireSamePresenter(
  { replayed, purchase }: Extract<TopupOutcome, { kind: 'credited' }>,
  answerTag: string | undefined,
): void {
  if (!replayed || (answerTag !== undefined && purchase?.['answerTag'] === answerTag)) return;
  throw new GatewayError(
    'payment_conflict',
    `this payment was made, and its answer is told again only with extra.${ANSWER_TOKEN} of its offer`,
  );
}
