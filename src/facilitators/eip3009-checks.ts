import type { Clock } from '../lib/clock.ts';
import { authorizationDigest, domainSeparator, type TokenDomain } from '../lib/eip3009.ts';
import { GatewayError } from '../lib/errors.ts';
import { recoverAddress } from '../lib/secp256k1.ts';
import type { PaymentChecks, VerifyResult } from '../ports/facilitator.ts';
import { type Eip3009Payment, requireKind } from '../ports/payment.ts';

/** The token needs the authorization to be valid when the block is made, which is a little later. */
const MIN_VALIDITY_SECONDS = 6n;

/**
 * An authorization that is valid for days could stay undecided for days. Published clients sign at most an
 * hour ahead. No facilitator sets such a limit, so it is ours whoever settles.
 */
const MAX_VALIDITY_SECONDS = 7_200n;

/** What an EIP-3009 payment shows by itself: whose key signed it and when it is valid. */
export function createEip3009Checks(
  tokens: readonly { network: string; token: TokenDomain }[],
  clock: Clock,
): PaymentChecks {
  const separators = new Map(tokens.map(({ network, token }) => [network, domainSeparator(token)] as const));

  function isSignedByKey({ network, authorization }: Eip3009Payment): boolean {
    const separator = separators.get(network);
    if (separator === undefined)
      throw new GatewayError('unsupported_network', `no facilitator for ${network}`);
    if (authorization.signature.length !== 132) return false;
    const digest = authorizationDigest(separator, authorization);
    return recoverAddress(digest, authorization.signature) === authorization.from;
  }

  return {
    // A contract wallet's signature is judged by its contract, so false is not yet a forgery.
    verifySignature: payment => Promise.resolve(isSignedByKey(requireKind(payment, 'eip3009'))),
    checkTerms: payment => checkValidity(requireKind(payment, 'eip3009'), clock),
  };
}

type Refusal = Extract<VerifyResult, { kind: 'invalid' }>;

function checkValidity(payment: Eip3009Payment, clock: Clock): Refusal | undefined {
  const now = BigInt(Math.floor(clock.nowMs() / 1000));
  const { validAfter, validBefore } = payment.authorization;
  if (validBefore < now + MIN_VALIDITY_SECONDS) {
    return invalid('invalid_exact_evm_payload_authorization_valid_before', 'the authorization has expired');
  }
  if (validBefore > now + MAX_VALIDITY_SECONDS) {
    return invalid(
      'invalid_exact_evm_payload_authorization_valid_before',
      `the authorization may be valid for at most ${MAX_VALIDITY_SECONDS} seconds`,
    );
  }
  if (validAfter > now) {
    return invalid(
      'invalid_exact_evm_payload_authorization_valid_after',
      'the authorization is not valid yet',
    );
  }
  return undefined;
}

function invalid(reason: string, message: string): Refusal {
  return { kind: 'invalid', reason, message };
}
