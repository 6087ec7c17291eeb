import type { FastifyInstance } from 'fastify';
import type { Static } from 'typebox';
import type { RateLimiters } from '../../http/rate-limit.ts';
import { BALANCE_RATE } from './limits.ts';
import type { VeniceOptions } from './options.ts';
import {
  BalanceResult,
  CodedError,
  CredentialDiscovery,
  InvalidParameters,
  json,
  PlainError,
  ProofHeaders,
  WalletParams,
} from './schemas.ts';
import { requireOwner } from './wallet-owner.ts';
import { balanceBody } from './wire.ts';

export const BALANCE_PATH = '/api/v1/x402/balance/:walletAddress';

const schema = {
  operationId: 'veniceBalance',
  tags: ['venice'],
  summary: "Read a wallet's credit",
  description:
    'Needs a Sign-In-With-X proof of the same wallet. Without any credential the answer is 402 with a challenge to sign.',
  params: WalletParams,
  headers: ProofHeaders,
  response: {
    200: json('The balance; 0 for a wallet never seen', BalanceResult),
    400: json('The address is malformed', InvalidParameters),
    401: json('The proof is invalid, expired or was used before', PlainError),
    402: json('No credential: how to sign in', CredentialDiscovery, ['PAYMENT-REQUIRED']),
    403: json('The proof is of another wallet', PlainError),
    429: json('More than 30 calls a minute by this wallet', PlainError),
    500: json('Unexpected error', CodedError),
    503: json('A part is down, try again', CodedError, ['Retry-After']),
  },
};

/** `GET /api/v1/x402/balance/{walletAddress}`. */
export function balanceRoute(app: FastifyInstance, options: VeniceOptions, limiters: RateLimiters): void {
  const limit = limiters.perKey(BALANCE_RATE);
  app.get<{ Params: Static<typeof WalletParams> }>(BALANCE_PATH, { schema }, async (request, reply) => {
    const { walletAddress } = request.params;
    const owner = await requireOwner(options, request, reply, {
      walletAddress,
      path: `/api/v1/x402/balance/${walletAddress}`,
      subject: 'balance',
      limit,
    });
    if (!owner) return reply;
    const { availableNanoUsd } = await options.accounts.walletBalance(owner.network, owner.wallet);
    return balanceBody(owner.wallet, availableNanoUsd);
  });
}
