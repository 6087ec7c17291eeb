import { randomUUID } from 'node:crypto';
import { type FastifyBaseLogger, type FastifyInstance, fastify } from 'fastify';
import { ADMIN_PREFIX, adminApi } from './admin/admin-api.ts';
import type { Config, DialectName } from './config/config.ts';
import {
  AITOPUP_PREFIX,
  aitopupDialect,
  aitopupMcp,
  aitopupPaths,
  createCallCounter,
  MCP_PREFIX,
} from './dialects/aitopup/index.ts';
import { DRIA_PATHS, DRIA_PREFIX, driaDialect } from './dialects/dria/index.ts';
import { MOBULA_PATHS, mobulaDialect } from './dialects/mobula/index.ts';
import { VENICE_PATHS, veniceDialect } from './dialects/venice/index.ts';
import { setDefaultErrors } from './http/errors.ts';
import { HEALTH_PATHS, registerHealth } from './http/health.ts';
import { describeApi, serveApiPages } from './http/openapi.ts';
import { answerByOwner, type PathOwner } from './http/path-owners.ts';
import { compileSchema } from './http/validator.ts';
import type { Clock } from './lib/clock.ts';
import { unavailable } from './lib/errors.ts';
import { VERSION } from './lib/version.ts';
import { registerDiscovery } from './public-api/discovery.ts';
import { FACILITATOR_PREFIX, facilitatorApi } from './public-api/facilitator.ts';
import { registerPaymentStatus } from './public-api/payment-status.ts';
import { walletLinkRoutes } from './public-api/wallet-links.ts';
import { type SandboxOptions, sandboxRoutes } from './sandbox/routes.ts';
import type { Services } from './services/services.ts';
import type { PaymentOption } from './topups/types.ts';

export interface AppOptions {
  config: Config;
  services: Services;
  log: FastifyBaseLogger;
  clock: Clock;
  /** Present in the sandbox only. */
  sandbox?: SandboxOptions;
}

const BODY_LIMIT_BYTES = 262_144;

/** Longest time a client may take to send its request. */
const REQUEST_TIMEOUT_MS = 30_000;

/** Builds the HTTP server: the same one for production, sandbox, tests and the OpenAPI document. */
export async function buildApp(options: AppOptions): Promise<FastifyInstance> {
  const { config, services } = options;
  let draining = false;
  const app = fastify({
    loggerInstance: options.log,
    genReqId: () => randomUUID(),
    requestIdHeader: false,
    trustProxy: config.trustProxy,
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    frameworkErrors: answerByOwner(pathOwners(config, options.clock)),
    // Refused below, in the form of whoever owns the path.
    return503OnClosing: false,
    forceCloseConnections: 'idle',
  });
  app.setValidatorCompiler(compileSchema);
  app.addHook('preClose', () => {
    draining = true;
  });
  // A request that is being answered is finished; new ones on kept connections are told to go elsewhere. This hook is
  // the first, so nothing of them is looked at.
  app.addHook('onRequest', (request, _reply, done) => {
    if (draining && !HEALTH_PATHS.includes(request.url)) done(unavailable('a gateway that is being stopped'));
    else done();
  });
  // A connection that was busy when we began to stop would else be kept open for its next request.
  app.addHook('onSend', async (_request, reply) => {
    if (draining) void reply.header('connection', 'close');
  });
  setDefaultErrors(app);
  await describeApi(app, { publicOrigin: config.publicOrigin, version: VERSION });

  registerHealth(app, { checks: services.readiness, isDraining: () => draining });
  registerPaymentStatus(app, services.payments);
  registerDiscovery(app, { publicOrigin: config.publicOrigin });
  await app.register(walletLinkRoutes, {
    walletLinks: services.walletLinks,
    rateLimits: config.rateLimits,
  });
  if (config.dialects.includes('venice')) {
    await app.register(veniceDialect, {
      topups: services.topups,
      accounts: services.accounts,
      signIn: services.signIn,
      // A wallet's balance here is live money, so test money must not seem to be a way to add to it.
      paymentOptions: services.paymentOptions.filter(option => option.environment === 'live'),
      publicOrigin: config.publicOrigin,
      rateLimits: config.rateLimits,
      clock: options.clock,
    });
  }
  if (config.dialects.includes('dria')) {
    await app.register(driaDialect, {
      prefix: DRIA_PREFIX,
      topups: services.topups,
      paymentLookups: services.paymentLookups,
      apiKeys: services.apiKeys,
      walletKeys: services.walletKeys,
      credit: services.credit,
      channels: services.channels,
      paymentOptions: services.paymentOptions,
      publicOrigin: config.publicOrigin,
      rateLimits: config.rateLimits,
      clock: options.clock,
    });
  }
  if (config.dialects.includes('aitopup')) {
    const parts = {
      apiKeys: services.apiKeys,
      sentTopups: services.sentTopups,
      webhooks: services.webhooks,
      topups: services.topups,
      paymentLookups: services.paymentLookups,
      paymentOptions: services.paymentOptions,
      publicOrigin: config.publicOrigin,
      amountRange: config.sentTopups.amountRange,
      countCall: config.rateLimits ? createCallCounter() : undefined,
      clock: options.clock,
    };
    await app.register(aitopupDialect, { ...parts, prefix: AITOPUP_PREFIX });
    await app.register(aitopupMcp, { ...parts, prefix: MCP_PREFIX });
  }
  if (config.adminApiKey) {
    const { webhooks, vouchers, keyVerification: keys, keyAdmin, createFundedKey } = services;
    const { operatorCredits } = services;
    const parts = { webhooks, vouchers, keys, keyAdmin, createFundedKey, operatorCredits };
    await app.register(adminApi, { prefix: ADMIN_PREFIX, apiKey: config.adminApiKey, ...parts });
  }
  if (config.dialects.includes('mobula') && services.agents && services.apiTokens) {
    await app.register(mobulaDialect, {
      agents: services.agents,
      apiTokens: services.apiTokens,
      mpp: services.mpp,
      clock: options.clock,
      topups: services.topups,
      paymentOptions: oneEnvironment(services.paymentOptions),
      publicOrigin: config.publicOrigin,
      rateLimits: config.rateLimits,
    });
  }
  if (Object.keys(config.facilitatorApiKeys).length > 0) {
    await app.register(facilitatorApi, {
      prefix: FACILITATOR_PREFIX,
      ...services.facilitatorApi,
      apiKeys: config.facilitatorApiKeys,
    });
  }
  if (options.sandbox) await app.register(sandboxRoutes, options.sandbox);
  await serveApiPages(app);
  return app;
}

/** Whose form an answer has that no route gives. */
function pathOwners({ dialects }: Config, clock: Clock): PathOwner[] {
  const owners: Record<DialectName, readonly PathOwner[]> = {
    venice: VENICE_PATHS,
    mobula: MOBULA_PATHS,
    dria: DRIA_PATHS,
    aitopup: aitopupPaths(clock),
  };
  return dialects.flatMap(name => owners[name]);
}

/** Live money where any is taken, else test money: an agent has one account, and its wallet any chain. */
function oneEnvironment(options: readonly PaymentOption[]): readonly PaymentOption[] {
  const environment = options.some(option => option.environment === 'live') ? 'live' : 'test';
  return options.filter(option => option.environment === environment);
}
