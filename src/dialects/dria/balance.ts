import type { FastifyInstance } from 'fastify';
import type { RateLimiters } from '../../http/rate-limit.ts';
import { keyHolderOf, perHolder } from './authentication.ts';
import { READ_RATE } from './limits.ts';
import type { DriaOptions } from './options.ts';
import { BalanceResult, errorText, json } from './schemas.ts';
import { balanceBody } from './wire.ts';

export const BALANCE_PATH = '/credits/balance';

const schema = {
  operationId: 'driaBalance',
  tags: ['dria'],
  summary: 'Credits left',
  description: 'Credits of one US cent, rounded down.',
  security: [{ bearer: [] }],
  response: {
    200: json('The balance; 0 for a fresh account', BalanceResult),
    401: errorText('The key is missing or not valid'),
    429: errorText('Too many calls with this key', ['Retry-After']),
    503: errorText('A part is down, try again', ['Retry-After']),
  },
};

/** `GET /v1/credits/balance`. */
export function balanceRoute(app: FastifyInstance, { credit }: DriaOptions, limiters: RateLimiters): void {
  const onRequest = perHolder(limiters.perKey(READ_RATE));
  app.get(BALANCE_PATH, { schema, onRequest }, async request => {
    return balanceBody(await credit.available(keyHolderOf(request).customer));
  });
}
