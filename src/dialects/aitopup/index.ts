import type { FastifyPluginAsync } from 'fastify';
import type { PathOwner } from '../../http/path-owners.ts';
import type { Clock } from '../../lib/clock.ts';
import { requireApiKey } from './authentication.ts';
import { readBodiesAsJson } from './bodies.ts';
import { deliveryRoutes } from './delivery-routes.ts';
import { answerInEnvelope, errorsInEnvelope, refuseUnknown } from './errors.ts';
import { fundRoute } from './fund.ts';
import { MCP_PREFIX } from './mcp.ts';
import { createOperations } from './operations.ts';
import type { AitopupOptions } from './options.ts';
import { topupRoutes } from './topup-routes.ts';
import { webhookRoutes } from './webhook-routes.ts';

export { createCallCounter } from './authentication.ts';
export { aitopupMcp, MCP_PREFIX } from './mcp.ts';
export type { AitopupOptions } from './options.ts';

/** Where the dialect is mounted; everything under it answers in the envelope, unknown paths too. */
export const AITOPUP_PREFIX = '/api/public/v1';

export function aitopupPaths(clock: Clock): PathOwner[] {
  return [AITOPUP_PREFIX, MCP_PREFIX].map(prefix => ({ prefix, answerError: errorsInEnvelope(clock) }));
}

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
