import type { FastifyReply, FastifyRequest } from 'fastify';
import type { SignedInWallet } from '../../accounts/types.ts';
import { GatewayError } from '../../lib/errors.ts';
import { readProofHeader } from './headers.ts';
import type { VeniceOptions } from './options.ts';
import { credentialRequired } from './payment-required.ts';

interface OwnerCheck {
  /** The wallet named in the path. */
  walletAddress: string;
  /** Path of the called resource. */
  path: string;
  /** What a stranger is told that he cannot read, e.g. `balance`. */
  subject: string;
  limit: (request: FastifyRequest, key: string) => Promise<void>;
}

/**
 * Lets only the wallet itself in. Calls are counted by the wallet that signed in, and before its name is
 * compared: strangers cannot use up somebody else's limit, and guessing wallets costs the guesser's own.
 * @returns the owner, or undefined after having answered a request without any credential
 * @throws GatewayError `proof_invalid`, `rate_limited`, `proof_of_other_wallet`
 */
export async function requireOwner(
  { signIn, publicOrigin, clock }: VeniceOptions,
  request: FastifyRequest,
  reply: FastifyReply,
  { walletAddress, path, subject, limit }: OwnerCheck,
): Promise<SignedInWallet | undefined> {
  const proof = readProofHeader(request.headers);
  if (proof === undefined) {
    const { body, header } = credentialRequired({ publicOrigin, path, nowMs: clock.nowMs() });
    await reply.code(402).header('PAYMENT-REQUIRED', header).type('application/json').send(body);
    return undefined;
  }
  const owner = await signIn.requireWallet(proof);
  await limit(request, owner.wallet);
  const named = walletAddress.startsWith('0x') ? walletAddress.toLowerCase() : walletAddress;
  if (named !== owner.wallet) {
    throw new GatewayError('proof_of_other_wallet', `You can only access ${subject} for your own wallet`);
  }
  return owner;
}
