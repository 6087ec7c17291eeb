import type { FastifyInstance, FastifyPluginAsync } from 'fastify';
import { GatewayError } from '../../lib/errors.ts';
import { requireApiKey } from './authentication.ts';
import { deliveryRoutes } from './delivery-routes.ts';
import { answerInEnvelope, refuseUnknown } from './errors.ts';
import { fundRoute } from './fund.ts';
import { BODY_LIMIT_BYTES } from './limits.ts';
import { createOperations } from './operations.ts';
import type { AitopupOptions } from './options.ts';
import { topupRoutes } from './topup-routes.ts';
import { webhookRoutes } from './webhook-routes.ts';

export type { AitopupOptions } from './options.ts';

/** Where the dialect is mounted; everything under it answers in the envelope, unknown paths too. */
export const AITOPUP_PREFIX = '/api/public/v1';

/** What an answer to another method names. */
const ROUTES = [
  { path: /^\/topup\/(send|cancel|validate|fund)$/, methods: ['POST'] },
  { path: /^\/topup\/(balance|history|status\/[^/]+)$/, methods: ['GET', 'HEAD'] },
  { path: /^\/topup\/threshold$/, methods: ['PUT'] },
  { path: /^\/webhooks\/register$/, methods: ['POST'] },
  { path: /^\/webhooks(\/deliveries(\/[^/]+)?)?$/, methods: ['GET', 'HEAD'] },
  { path: /^\/webhooks\/deliveries\/[^/]+\/replay$/, methods: ['POST'] },
  { path: /^\/webhooks\/[^/]+\/rotate-secret$/, methods: ['POST'] },
  { path: /^\/webhooks\/[^/]+$/, methods: ['PATCH', 'DELETE'] },
];

/** Credit for others behind an API key, as aitopup's callers speak it. To be registered under {@link AITOPUP_PREFIX}. */
export const aitopupDialect: FastifyPluginAsync<AitopupOptions> = async (app, options) => {
  answerInEnvelope(app, options.clock);
  refuseUnknown(app, AITOPUP_PREFIX, ROUTES);
  readBodiesAsJson(app);
  // The contract's order of checks, with a code for each, is in the operations: see `schemas.ts`.
  app.setValidatorCompiler(() => () => true);
  await app.register(async keyed => {
    requireApiKey(keyed, options);
    topupRoutes(keyed, createOperations(options));
    fundRoute(keyed, options, AITOPUP_PREFIX);
    webhookRoutes(keyed, options);
    deliveryRoutes(keyed, options);
  });
};

/** A body is JSON or missing: clients announce JSON also where they send nothing. */
function readBodiesAsJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  const parse = app.getDefaultJsonParser('error', 'error');
  const options = { parseAs: 'string', bodyLimit: BODY_LIMIT_BYTES } as const;
  app.addContentTypeParser('application/json', options, (request, body: string, done) => {
    if (body.trim() === '') {
      done(null, undefined);
      return;
    }
    void parse(request, body, (error: Error | null, value?: unknown) => {
      if (error) done(new GatewayError('malformed_request', 'the body is not JSON'));
      else done(null, value);
    });
  });
}
