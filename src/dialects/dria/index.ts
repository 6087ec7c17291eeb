import type { FastifyInstance, FastifyPluginAsync } from 'fastify';
import type { PathOwner } from '../../http/path-owners.ts';
import { createRateLimiters } from '../../http/rate-limit.ts';
import { GatewayError } from '../../lib/errors.ts';
import { requireApiKey } from './authentication.ts';
import { BALANCE_PATH, balanceRoute } from './balance.ts';
import { CHANNEL_PATH, channelRoutes } from './channel.ts';
import { addCors } from './cors.ts';
import { answerInText, refuseUnknown } from './errors.ts';
import { BODY_LIMIT_BYTES } from './limits.ts';
import { MODELS_PATH, modelsRoute } from './models.ts';
import type { DriaOptions } from './options.ts';
import { TOPUP_PATH, topupRoute } from './top-up.ts';
import { WALLET_KEY_PATH, walletKeyRoute } from './wallet-key.ts';

export type { DriaOptions } from './options.ts';

/** Where the dialect is mounted; everything under it answers in the dialect's way, unknown paths too. */
export const DRIA_PREFIX = '/v1';

export const DRIA_PATHS: readonly PathOwner[] = [{ prefix: DRIA_PREFIX, answerError: answerInText }];

/** What an answer to another method names. */
const ALLOWED_METHODS: Readonly<Record<string, readonly string[]>> = {
  [`${DRIA_PREFIX}${BALANCE_PATH}`]: ['GET', 'HEAD'],
  [`${DRIA_PREFIX}${TOPUP_PATH}`]: ['POST'],
  [`${DRIA_PREFIX}${WALLET_KEY_PATH}`]: ['POST'],
  [`${DRIA_PREFIX}${MODELS_PATH}`]: ['GET', 'HEAD'],
  [`${DRIA_PREFIX}${CHANNEL_PATH}`]: ['GET', 'HEAD', 'POST'],
};

/** Prepaid credits behind an API key, as Dria clients speak it. To be registered under {@link DRIA_PREFIX}. */
export const driaDialect: FastifyPluginAsync<DriaOptions> = async (app, options) => {
  app.setErrorHandler(answerInText);
  addCors(app);
  refuseUnknown(app, ALLOWED_METHODS);
  readBodiesAsJson(app);
  const limiters = await createRateLimiters(app, options.rateLimits, { tellWhen: true });
  walletKeyRoute(app, options, limiters);
  await app.register(async keyed => {
    requireApiKey(keyed, options.apiKeys);
    balanceRoute(keyed, options, limiters);
    topupRoute(keyed, options, limiters);
    modelsRoute(keyed, limiters);
    channelRoutes(keyed, options, limiters);
  });
};

/**
 * Bodies are JSON whatever type they announce: a version 1 client that was given a Headers object repeats its
 * body as text/plain, and others announce nothing that can be read.
 */
function readBodiesAsJson(app: FastifyInstance): void {
  app.addHook('onRequest', (request, _reply, done) => {
    if (request.headers['content-type'] !== undefined) request.headers['content-type'] = 'application/json';
    done();
  });
  app.removeAllContentTypeParsers();
  const parse = app.getDefaultJsonParser('error', 'error');
  const options = { parseAs: 'string', bodyLimit: BODY_LIMIT_BYTES } as const;
  app.addContentTypeParser('*', options, (request, body: string, done) => {
    void parse(request, body, (error: Error | null, value?: unknown) => {
      if (error) done(new GatewayError('malformed_request', 'the body is not a JSON object'));
      else done(null, value);
    });
  });
}
