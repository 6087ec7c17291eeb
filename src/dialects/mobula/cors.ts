import type { FastifyInstance, FastifySchema } from 'fastify';

export const EVERY_ANSWER = {
  // Offers, keys and receipts are for one caller at one moment.
  'Cache-Control': 'no-store',
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Expose-Headers':
    'PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE, WWW-Authenticate, Payment-Receipt, Retry-After',
};

const PREFLIGHT = {
  'Access-Control-Allow-Methods': 'GET, POST, DELETE, OPTIONS',
  'Access-Control-Allow-Headers':
    'authorization, content-type, x-api-key, x-payment, payment-signature, accept-payment, access-control-expose-headers',
  'Access-Control-Max-Age': '600',
};

const UNDOCUMENTED: FastifySchema & { hide: boolean } = { hide: true };

/** Lets browsers call these routes from any page: nothing here reads a cookie. */
export function addCors(app: FastifyInstance): void {
  app.addHook('onRequest', (_request, reply, done) => {
    void reply.headers(EVERY_ANSWER);
    done();
  });
}

export function addPreflight(app: FastifyInstance, path: string): void {
  app.options(path, { schema: UNDOCUMENTED }, async (_request, reply) => {
    return reply.code(204).headers(PREFLIGHT).send();
  });
}
