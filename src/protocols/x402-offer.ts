import { unavailable } from '../lib/errors.ts';
import { SPONSORING_EXTENSION } from '../lib/permit2.ts';
import { newMemo } from '../lib/svm-memo.ts';

/** What an offer must know of a way to pay. */
interface OfferedOption {
  extra: Readonly<Record<string, string>>;
  permit2?: { sponsored: boolean };
  /** Solana's payments name who pays the fee. */
  solana?: { feePayer: () => string | undefined };
}

/**
 * The entries that can be offered now: on Solana somebody must be there who pays the fee. What can be paid by
 * Permit2 too comes a second time at the end, because clients take the first entry that they can pay.
 */
export function offeredNow<T extends OfferedOption>(options: readonly T[]): T[] {
  const payable = options.filter(({ solana }) => !solana || solana.feePayer() !== undefined);
  const byPermit2 = payable
    .filter(({ permit2 }) => permit2 !== undefined)
    .map(option => ({ ...option, extra: { ...option.extra, assetTransferMethod: 'permit2' } }));
  return [...payable, ...byPermit2];
}

const digits = { type: 'string', pattern: '^[0-9]+$' };
const address = { type: 'string', pattern: '^0x[a-fA-F0-9]{40}$' };

/** Tells clients that a signed allowance of Permit2 is sent for them; the shape is that of `@x402/extensions`. */
const SPONSORING = {
  [SPONSORING_EXTENSION]: {
    info: {
      description: 'An allowance of Permit2 signed by EIP-2612 is paid for by the seller.',
      version: '1',
    },
    schema: {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      properties: {
        from: address,
        asset: address,
        spender: address,
        amount: digits,
        nonce: digits,
        deadline: digits,
        signature: { type: 'string', pattern: '^0x[a-fA-F0-9]+$' },
        version: { type: 'string', pattern: '^[0-9]+(\\.[0-9]+)*$' },
      },
      required: ['from', 'asset', 'spender', 'amount', 'nonce', 'deadline', 'signature', 'version'],
    },
  },
};

/** What an offer says beside its entries, to be spread into it: nothing at all unless it must. */
export function offerExtensions(options: readonly OfferedOption[]): { extensions?: typeof SPONSORING } {
  return options.some(({ permit2 }) => permit2?.sponsored) ? { extensions: SPONSORING } : {};
}

/**
 * The `extra` of a requirement that is about to be offered. On Solana two payments of one wallet with the same
 * amount in the same moment would be the same transaction, so each offer carries a memo of its own.
 */
export function offerExtra({ extra, solana }: OfferedOption): Record<string, string> {
  const feePayer = solana?.feePayer();
  if (feePayer === undefined) return { ...extra };
  return { ...extra, feePayer, memo: newMemo() };
}

/**
 * As {@link offeredNow}, for an answer that clients pay: a 402 without any entry is no offer, and they give up on it.
 * @throws GatewayError `unavailable` while nothing can be offered
 */
export function requireOffered<T extends OfferedOption>(options: readonly T[]): [T, ...T[]] {
  const [first, ...others] = offeredNow(options);
  if (!first) throw unavailable('a facilitator that pays the fee of payments');
  return [first, ...others];
}
