import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { KeyHolder } from '../../accounts/types.ts';
import { type BucketState, createTokenBuckets } from '../../http/token-bucket.ts';
import { CODE, Refusal } from './envelope.ts';
import { KEY_RATE } from './limits.ts';
import type { AitopupOptions } from './options.ts';

const BEARER = /^bearer +(\S+)$/i;
const HOLDER = 'topupSender';

/** Counts one call of a key. */
export type CountCall = (keyId: string) => BucketState;

/** Counts the calls of keys in this process: one counter for every surface, or each would be a way around the rate. */
export function createCallCounter(): CountCall {
  return createTokenBuckets(KEY_RATE);
}

/**
 * Lets only valid keys in, from allowed addresses and at their rate, before a body is read: a caller without
 * a key does not learn what is wrong with its request.
 */
export function requireApiKey(
  app: FastifyInstance,
  { apiKeys, countCall }: Pick<AitopupOptions, 'apiKeys' | 'countCall'>,
): void {
  app.decorateRequest(HOLDER);
  app.addHook('onRequest', async (request, reply) => {
    const holder = await apiKeys.authenticate({
      apiKey: BEARER.exec(request.headers.authorization ?? '')?.[1],
      dialect: 'aitopup',
      callerAddress: request.ip,
    });
    request.setDecorator<KeyHolder>(HOLDER, holder);
    if (!countCall) return;
    const { isAllowed, remaining, waitMs, resetMs } = countCall(holder.keyId);
    void reply.headers({
      'X-RateLimit-Limit': KEY_RATE.perMinute,
      'X-RateLimit-Remaining': remaining,
      'X-RateLimit-Reset': seconds(resetMs),
    });
    if (isAllowed) return;
    throw new Refusal(CODE.rateLimited, 'too many requests with this key', 'rate_limited', {
      headers: { 'Retry-After': String(seconds(waitMs)) },
    });
  });
}

const seconds = (ms: number) => Math.max(1, Math.ceil(ms / 1000));

/** Who the key of a request acts for. */
export function senderOf(request: FastifyRequest): KeyHolder {
  return request.getDecorator<KeyHolder>(HOLDER);
}
