import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ApiKeys, KeyHolder } from '../../accounts/types.ts';

const BEARER = /^bearer +(\S+)$/i;
const HOLDER = 'keyHolder';

/**
 * Lets only valid keys into the routes of this plugin, before their bodies are read: a caller without a key
 * learns neither a price nor what is wrong with its request.
 */
export function requireApiKey(app: FastifyInstance, apiKeys: ApiKeys): void {
  app.decorateRequest(HOLDER);
  app.addHook('onRequest', async request => {
    const holder = await apiKeys.authenticate({
      apiKey: BEARER.exec(request.headers.authorization ?? '')?.[1],
      dialect: 'dria',
      callerAddress: request.ip,
    });
    request.setDecorator<KeyHolder>(HOLDER, holder);
  });
}

/** Who the key of a request acts for. */
export function keyHolderOf(request: FastifyRequest): KeyHolder {
  return request.getDecorator<KeyHolder>(HOLDER);
}

/** Counts a request by its key. */
export function perHolder(limit: (request: FastifyRequest, key: string) => Promise<void>) {
  return (request: FastifyRequest): Promise<void> => limit(request, keyHolderOf(request).keyId);
}
