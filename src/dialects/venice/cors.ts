import type { FastifyInstance, FastifySchema } from 'fastify';
import { PAYMENT_HEADERS, PROOF_HEADERS } from './headers.ts';

export const EVERY_ANSWER = {
  // Prices, balances and receipts are for one caller at one moment.
  'Cache-Control': 'no-store',
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Expose-Headers': 'PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-Balance-Remaining, Retry-After',
};

const PREFLIGHT = {
  'Access-Control-Allow-Methods': 'GET, POST, OPTIONS',
  'Access-Control-Allow-Headers': [
    'Authorization',
    'Content-Type',
    ...PAYMENT_HEADERS,
    ...PROOF_HEADERS,
  ].join(', '),
  'Access-Control-Max-Age': '600',
};

const UNDOCUMENTED: FastifySchema & { hide: boolean } = { hide: true };

/**
 * Lets browser wallets call these routes from any page. That is safe because nothing here reads a cookie:
 * a caller proves itself by a signature in a header, which no other page can make.
 */
export function addCors(app: FastifyInstance, paths: readonly string[]): void {
  app.addHook('onRequest', (_request, reply, done) => {
    void reply.headers(EVERY_ANSWER);
    done();
  });
  for (const path of paths) {
    app.options(path, { schema: UNDOCUMENTED }, async (_request, reply) => {
      return reply.code(204).headers(PREFLIGHT).send();
    });
  }
}
