import type { FastifyInstance, FastifySchema } from 'fastify';

export const EVERY_ANSWER = {
  // Balances, offers and receipts are for one caller at one moment.
  'Cache-Control': 'no-store',
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Expose-Headers': 'X-PAYMENT-RESPONSE, PAYMENT-RESPONSE, PAYMENT-REQUIRED, Retry-After',
};

const PREFLIGHT = {
  'Access-Control-Allow-Methods': 'GET, POST, OPTIONS',
  // Version 1 clients send Access-Control-Expose-Headers with the paid request, so the preflight asks for it.
  'Access-Control-Allow-Headers':
    'authorization, content-type, x-payment, payment-signature, access-control-expose-headers',
  'Access-Control-Max-Age': '600',
};

const UNDOCUMENTED: FastifySchema & { hide: boolean } = { hide: true };

/**
 * Lets browsers call these routes from any page. That is safe because nothing here reads a cookie: a caller
 * shows a key, which no other page knows.
 */
export function addCors(app: FastifyInstance): void {
  app.addHook('onRequest', (_request, reply, done) => {
    void reply.headers(EVERY_ANSWER);
    done();
  });
  app.options('/*', { schema: UNDOCUMENTED }, async (_request, reply) => {
    return reply.code(204).headers(PREFLIGHT).send();
  });
}
