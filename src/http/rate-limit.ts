import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { GatewayError } from '../lib/errors.ts';

/** So many calls in a window that starts with the first of them. */
export interface RateLimit {
  max: number;
  windowMs: number;
}

export interface RateLimiters {
  /** Counts by the caller's address (an IPv6 caller by its /64 network). */
  perAddress(limit: RateLimit): (request: FastifyRequest) => Promise<void>;
  /** Counts by a key that the route knows, such as the wallet that signed in. */
  perKey(limit: RateLimit): (request: FastifyRequest, key: string) => Promise<void>;
}

/** Counters kept per limit; beyond it the longest unused is forgotten, so memory stays bounded. */
const MAX_COUNTERS = 10_000;

const UNLIMITED: RateLimiters = { perAddress: () => pass, perKey: () => pass };

async function pass(): Promise<void> {}

/**
 * Limits of one plugin, counted in this process: several processes behind a balancer allow as many times
 * the limit. The returned functions throw `rate_limited`; no rate-limit headers are sent.
 * @param options.tellWhen whether the refusal says when the window ends, for dialects that answer it
 */
export async function createRateLimiters(
  app: FastifyInstance,
  enabled: boolean,
  options: { tellWhen?: boolean } = {},
): Promise<RateLimiters> {
  if (!enabled) return UNLIMITED;
  await app.register(rateLimit, { global: false, cache: MAX_COUNTERS });
  const refuseExceeded = refuseWith(options.tellWhen === true);
  return {
    perAddress({ max, windowMs }) {
      return refuseExceeded(app.createRateLimit({ max, timeWindow: windowMs }));
    },
    perKey({ max, windowMs }) {
      const keys = new WeakMap<FastifyRequest, string>();
      const keyGenerator = (request: FastifyRequest) => keys.get(request) ?? '';
      const check = refuseExceeded(app.createRateLimit({ max, timeWindow: windowMs, keyGenerator }));
      return (request, key) => {
        keys.set(request, key);
        return check(request);
      };
    },
  };
}

type Counter = ReturnType<FastifyInstance['createRateLimit']>;

function refuseWith(tellWhen: boolean) {
  return (count: Counter) =>
    async (request: FastifyRequest): Promise<void> => {
      const result = await count(request);
      if (result.isAllowed || !result.isExceeded) return;
      throw new GatewayError('rate_limited', 'Rate limit exceeded. Please try again later.', {
        ...(tellWhen && { retryAfterSeconds: result.ttlInSeconds }),
      });
    };
}
