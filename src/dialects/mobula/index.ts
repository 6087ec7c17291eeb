import type { FastifyPluginAsync } from 'fastify';
import type { PathOwner } from '../../http/path-owners.ts';
import { createRateLimiters } from '../../http/rate-limit.ts';
import { addCors, addPreflight } from './cors.ts';
import { answerError } from './errors.ts';
import { answerInProblems, MPP_PREFIX, mppRail } from './mpp-rail.ts';
import type { MobulaOptions } from './options.ts';
import { TOKEN_PREFIX, tokenRoutes } from './token-routes.ts';
import { X402_PREFIX, x402Rail } from './x402-rail.ts';

export type { MobulaOptions } from './options.ts';

export const MOBULA_PATHS: readonly PathOwner[] = [
  { prefix: X402_PREFIX, answerError },
  { prefix: MPP_PREFIX, answerError: answerInProblems },
];

/** Plans, credits and API keys of an agent that is a wallet, as Mobula clients buy them. */
export const mobulaDialect: FastifyPluginAsync<MobulaOptions> = async (app, options) => {
  app.setErrorHandler(answerError);
  // Clients send no body, or announce one and send nothing: whatever comes is read and dropped.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, _body, done) => done(null, undefined));
  const limiters = await createRateLimiters(app, options.rateLimits, { tellWhen: true });
  addCors(app);
  addPreflight(app, `${X402_PREFIX}/*`);
  x402Rail(app, options, limiters);
  addPreflight(app, `${TOKEN_PREFIX}/*`);
  await app.register(async group => tokenRoutes(group, options, limiters));
  const { mpp } = options;
  if (!mpp) return;
  addPreflight(app, `${MPP_PREFIX}/*`);
  await app.register(async group => mppRail(group, options, mpp, limiters));
};
