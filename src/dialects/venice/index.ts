import type { FastifyPluginAsync } from 'fastify';
import { createRateLimiters } from '../../http/rate-limit.ts';
import { BALANCE_PATH, balanceRoute } from './balance.ts';
import { addCors } from './cors.ts';
import { errorHandler, WALLET_ERRORS } from './errors.ts';
import type { VeniceOptions } from './options.ts';
import { TOPUP_PATH, topupRoute } from './top-up.ts';
import { TRANSACTIONS_PATH, transactionsRoute } from './transactions.ts';

export type { VeniceOptions } from './options.ts';

/** Prepaid credit of a wallet, as Venice clients speak it. */
export const veniceDialect: FastifyPluginAsync<VeniceOptions> = async (app, options) => {
  addCors(app, [TOPUP_PATH, BALANCE_PATH, TRANSACTIONS_PATH]);
  const limiters = await createRateLimiters(app, options.rateLimits);

  await app.register(async group => topupRoute(group, options, limiters));
  await app.register(async group => {
    group.setErrorHandler(errorHandler(WALLET_ERRORS));
    balanceRoute(group, options, limiters);
    transactionsRoute(group, options, limiters);
  });
};
