import { assert } from '../lib/assert.ts';
import type { Clock } from '../lib/clock.ts';
import { authorizationDigest, domainSeparator, type TokenDomain } from '../lib/eip3009.ts';
import { GatewayError } from '../lib/errors.ts';
import { permit2Separator, permitDigest } from '../lib/permit2.ts';
import { recoverAddress } from '../lib/secp256k1.ts';
import type { PaymentChecks, VerifyResult } from '../ports/facilitator.ts';
import type { Eip3009Payment, ExactPayment, Permit2Payment } from '../ports/payment.ts';

/** The permission must be valid when the block is made, which is a little later. */
const MIN_VALIDITY_SECONDS = 6n;

/**
 * A permission that is valid for days could stay undecided for days. Published clients sign at most an
 * hour ahead. No facilitator sets such a limit, so it is ours whoever settles.
 */
const MAX_VALIDITY_SECONDS = 7_200n;

type Refusal = Extract<VerifyResult, { kind: 'invalid' }>;

/** When a permission is good, and the x402 code for each way in which it is not. */
interface Validity {
  /** Unix seconds. */
  after: bigint;
  before: bigint;
  tooEarly: string;
  tooLate: string;
}

/** What a payment on an EVM network shows by itself: whose key signed it and when it is valid. */
export function createEvmChecks(
  tokens: readonly { network: string; token: TokenDomain }[],
  clock: Clock,
): PaymentChecks {
  const separators = new Map(
    tokens.map(({ network, token }) => [
      network,
      { token: domainSeparator(token), permit2: permit2Separator(token.chainId) },
    ]),
  );

  function isSignedByKey(payment: Eip3009Payment | Permit2Payment): boolean {
    const separator = separators.get(payment.network);
    if (separator === undefined)
      throw new GatewayError('unsupported_network', `no facilitator for ${payment.network}`);
    const { signature } = payment.kind === 'permit2' ? payment.permit : payment.authorization;
    if (signature.length !== 132) return false;
    const digest =
      payment.kind === 'permit2'
        ? permitDigest(separator.permit2, payment.permit)
        : authorizationDigest(separator.token, payment.authorization);
    return recoverAddress(digest, signature) === payment.payer;
  }

  return {
    // A contract wallet's signature is judged by its contract, so false is not yet a forgery.
    verifySignature: payment => Promise.resolve(isSignedByKey(requireEvm(payment))),
    checkTerms(payment) {
      const evm = requireEvm(payment);
      return checkValidity(evm, clock) ?? checkAllowance(evm, clock);
    },
  };
}

/** Narrows a payment to those that an EVM network with x402 knows. */
export function requireEvm(payment: ExactPayment): Eip3009Payment | Permit2Payment {
  assert(payment.kind === 'eip3009' || payment.kind === 'permit2', 'a payment of an EVM network');
  return payment;
}

function validityOf(payment: Eip3009Payment | Permit2Payment): Validity {
  if (payment.kind === 'permit2') {
    const { validAfter, deadline } = payment.permit;
    return {
      after: validAfter,
      before: deadline,
      tooEarly: 'permit2_not_yet_valid',
      tooLate: 'permit2_deadline_expired',
    };
  }
  const { validAfter, validBefore } = payment.authorization;
  return {
    after: validAfter,
    before: validBefore,
    tooEarly: 'invalid_exact_evm_payload_authorization_valid_after',
    tooLate: 'invalid_exact_evm_payload_authorization_valid_before',
  };
}

function checkValidity(payment: Eip3009Payment | Permit2Payment, clock: Clock): Refusal | undefined {
  const now = nowSeconds(clock);
  const { after, before, tooEarly, tooLate } = validityOf(payment);
  if (before < now + MIN_VALIDITY_SECONDS) {
    return { ...invalid(tooLate, 'the authorization has expired'), perhapsUsed: true };
  }
  if (before > now + MAX_VALIDITY_SECONDS) {
    return invalid(tooLate, `the authorization may be valid for at most ${MAX_VALIDITY_SECONDS} seconds`);
  }
  return after > now ? invalid(tooEarly, 'the authorization is not valid yet') : undefined;
}

function checkAllowance(payment: Eip3009Payment | Permit2Payment, clock: Clock): Refusal | undefined {
  const allowance = payment.kind === 'permit2' ? payment.permit.allowance : undefined;
  if (!allowance || allowance.deadline >= nowSeconds(clock) + MIN_VALIDITY_SECONDS) return undefined;
  return invalid('eip2612_deadline_expired', 'the permission for Permit2 to move the amount has expired');
}

const nowSeconds = (clock: Clock): bigint => BigInt(Math.floor(clock.nowMs() / 1000));

function invalid(reason: string, message: string): Refusal {
  return { kind: 'invalid', reason, message };
}
