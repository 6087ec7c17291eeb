import type { FastifyInstance, FastifyPluginAsync, FastifySchema } from 'fastify';
import { createRateLimiters } from '../../http/rate-limit.ts';
import { GatewayError } from '../../lib/errors.ts';
import { requireApiKey } from './authentication.ts';
import { BALANCE_PATH, balanceRoute } from './balance.ts';
import { CHANNEL_PATH, channelRoutes } from './channel.ts';
import { addCors } from './cors.ts';
import { answerInText } from './errors.ts';
import { BODY_LIMIT_BYTES } from './limits.ts';
import { MODELS_PATH, modelsRoute } from './models.ts';
import type { DriaOptions } from './options.ts';
import { TOPUP_PATH, topupRoute } from './top-up.ts';
import { WALLET_KEY_PATH, walletKeyRoute } from './wallet-key.ts';

export type { DriaOptions } from './options.ts';

/** Where the dialect is mounted; everything under it answers in the dialect's way, unknown paths too. */
export const DRIA_PREFIX = '/v1';

const ALLOWED_METHODS: Readonly<Record<string, readonly string[]>> = {
  [BALANCE_PATH]: ['GET', 'HEAD'],
  [TOPUP_PATH]: ['POST'],
  [WALLET_KEY_PATH]: ['POST'],
  [MODELS_PATH]: ['GET', 'HEAD'],
  [CHANNEL_PATH]: ['GET', 'HEAD', 'POST'],
};

/** Prepaid credits behind an API key, as Dria clients speak it. To be registered under {@link DRIA_PREFIX}. */
export const driaDialect: FastifyPluginAsync<DriaOptions> = async (app, options) => {
  answerInText(app);
  addCors(app);
  readBodiesAsJson(app);
  refuseOtherMethods(app);
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

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'];
const UNDOCUMENTED: FastifySchema & { hide: boolean } = { hide: true };

function refuseOtherMethods(app: FastifyInstance): void {
  for (const [url, allowed] of Object.entries(ALLOWED_METHODS)) {
    app.route({
      url,
      method: METHODS.filter(method => !allowed.includes(method)),
      schema: UNDOCUMENTED,
      // Before the body is read: it means nothing here.
      onRequest: async (_request, reply) => {
        void reply.header('Allow', allowed.join(', '));
        throw new GatewayError('method_not_allowed', 'method not allowed');
      },
      handler: async () => undefined,
    });
  }
}
