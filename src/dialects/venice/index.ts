import type { FastifyPluginAsync } from 'fastify';
import type { PathOwner } from '../../http/path-owners.ts';
import { createRateLimiters } from '../../http/rate-limit.ts';
import { BALANCE_PATH, balanceRoute } from './balance.ts';
import { addCors } from './cors.ts';
import { errorHandler, refuseUnknown, TOPUP_ERRORS, WALLET_ERRORS } from './errors.ts';
import type { VeniceOptions } from './options.ts';
import { TOPUP_PATH, topupRoute } from './top-up.ts';
import { TRANSACTIONS_PATH, transactionsRoute } from './transactions.ts';

export type { VeniceOptions } from './options.ts';

const PREFIX = '/api/v1';

/** What an answer to another method names. */
const ROUTES = [
  { path: /^\/api\/v1\/x402\/top-up$/, methods: ['POST'] },
  { path: /^\/api\/v1\/x402\/(balance|transactions)\/[^/]+$/, methods: ['GET', 'HEAD'] },
];

/** What is not a path of the top-up answers as the wallet routes do. */
export const VENICE_PATHS: readonly PathOwner[] = [
  { prefix: TOPUP_PATH, answerError: errorHandler(TOPUP_ERRORS) },
  { prefix: PREFIX, answerError: errorHandler(WALLET_ERRORS) },
];

/** Prepaid credit of a wallet, as Venice clients speak it. */
export const veniceDialect: FastifyPluginAsync<VeniceOptions> = async (app, options) => {
  addCors(app, [TOPUP_PATH, BALANCE_PATH, TRANSACTIONS_PATH]);
  const limiters = await createRateLimiters(app, options.rateLimits);

  await app.register(async group => refuseUnknown(group, ROUTES), { prefix: PREFIX });
  await app.register(async group => topupRoute(group, options, limiters));
  await app.register(async group => {
    group.setErrorHandler(errorHandler(WALLET_ERRORS));
    balanceRoute(group, options, limiters);
    transactionsRoute(group, options, limiters);
  });
};
