import type { FastifyInstance } from 'fastify';
import type { Static } from 'typebox';
import type { RateLimiters } from '../../http/rate-limit.ts';
import { DEFAULT_PAGE, TRANSACTIONS_RATE } from './limits.ts';
import type { VeniceOptions } from './options.ts';
import {
  CodedError,
  CredentialDiscovery,
  InvalidParameters,
  json,
  PageQuery,
  PlainError,
  ProofHeaders,
  TransactionsResult,
  WalletParams,
} from './schemas.ts';
import { requireOwner } from './wallet-owner.ts';
import { transactionsBody } from './wire.ts';

export const TRANSACTIONS_PATH = '/api/v1/x402/transactions/:walletAddress';

const schema = {
  operationId: 'veniceTransactions',
  tags: ['venice'],
  summary: "Read a wallet's statement",
  description:
    'Top-ups, charges and refunds, newest first. Needs a Sign-In-With-X proof of the same wallet. Without any credential the answer is 402 with a challenge to sign.',
  params: WalletParams,
  querystring: PageQuery,
  headers: ProofHeaders,
  response: {
    200: json('One page of the statement', TransactionsResult),
    400: json('The address or the page is malformed', InvalidParameters),
    401: json('The proof is invalid, expired or was used before', PlainError),
    402: json('No credential: how to sign in', CredentialDiscovery, ['PAYMENT-REQUIRED']),
    403: json('The proof is of another wallet', PlainError),
    429: json('More than 20 calls a minute by this wallet', PlainError),
    500: json('Unexpected error', CodedError),
    503: json('A part is down, try again', CodedError, ['Retry-After']),
  },
};

interface Route {
  Params: Static<typeof WalletParams>;
  Querystring: Static<typeof PageQuery>;
}

/** `GET /api/v1/x402/transactions/{walletAddress}`. */
export function transactionsRoute(
  app: FastifyInstance,
  options: VeniceOptions,
  limiters: RateLimiters,
): void {
  const limit = limiters.perKey(TRANSACTIONS_RATE);
  app.get<Route>(TRANSACTIONS_PATH, { schema }, async (request, reply) => {
    const { walletAddress } = request.params;
    const owner = await requireOwner(options, request, reply, {
      walletAddress,
      path: `/api/v1/x402/transactions/${walletAddress}`,
      subject: 'transaction history',
      limit,
    });
    if (!owner) return reply;
    const page = { limit: request.query.limit ?? DEFAULT_PAGE, offset: request.query.offset ?? 0 };
    const statement = await options.accounts.walletStatement(owner.network, owner.wallet, page);
    return transactionsBody(owner.wallet, statement, page);
  });
}
