import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import type { OperatorCredits } from '../accounts/operator-credits.ts';
import { assertNever } from '../lib/assert.ts';
import { GatewayError } from '../lib/errors.ts';
import { formatUsd } from '../lib/money.ts';
import { isStorableText } from '../lib/storable-text.ts';
import { readUsd } from './read-usd.ts';

const ofCustomer = Type.Object({ customerId: Type.String({ format: 'uuid' }) });

const NamedCall = Type.Object({
  'idempotency-key': Type.String({
    pattern: '^[\\x20-\\x7e]{1,255}$',
    description: 'your name for the credit: sent again, it is not booked again',
  }),
});

const NewCredit = Type.Object(
  {
    amountUsd: Type.String({ description: 'above 0, decimal string of US dollars', examples: ['250'] }),
    reason: Type.String({ minLength: 1, maxLength: 500, examples: ['invoice 2026-117 was paid'] }),
    actor: Type.String({ minLength: 1, maxLength: 200, description: 'who orders it' }),
  },
  { additionalProperties: false },
);

const Credited = Type.Object({
  creditId: Type.String({ format: 'uuid', description: 'of the transfer in the ledger' }),
  customerId: Type.String({ format: 'uuid' }),
  environment: Type.Union([Type.Literal('live'), Type.Literal('test')]),
  amountUsd: Type.String(),
  availableUsd: Type.String({ description: 'what the customer has now' }),
  replayed: Type.Boolean({ description: 'whether it was booked by an earlier call' }),
});

const Refusal = Type.Object({ error: Type.String(), message: Type.String() });

/** `POST /admin/v1/customers/{customerId}/credits`: fills the wallet of a customer who is there already. */
export function adminCreditRoutes(app: FastifyInstance, credits: OperatorCredits): void {
  app.post<{
    Params: Static<typeof ofCustomer>;
    Headers: Static<typeof NamedCall>;
    Body: Static<typeof NewCredit>;
  }>(
    '/customers/:customerId/credits',
    {
      schema: {
        tags: ['operator'],
        security: [{ bearer: [] }],
        operationId: 'creditCustomer',
        summary: 'Credit a customer by hand, once',
        description:
          'For an owner of keys or wallets of any dialect. The ledger keeps reason and actor beside the transfer.',
        params: ofCustomer,
        headers: NamedCall,
        body: NewCredit,
        response: { 200: Credited, 400: Refusal, 401: Refusal, 404: Refusal, 409: Refusal },
      },
    },
    async ({ params: { customerId }, headers, body: { amountUsd, reason, actor } }) => {
      if (!isStorableText(reason + actor)) {
        throw new GatewayError('malformed_request', 'reason and actor must be text');
      }
      const amountNanoUsd = readUsd('amountUsd', amountUsd, 1n);
      const idempotencyKey = headers['idempotency-key'];
      const outcome = await credits.credit({ idempotencyKey, customerId, amountNanoUsd, reason, actor });
      switch (outcome.kind) {
        case 'credited':
          return {
            creditId: outcome.creditId,
            customerId,
            environment: outcome.environment,
            amountUsd: formatUsd(amountNanoUsd),
            availableUsd: formatUsd(outcome.availableNanoUsd),
            replayed: outcome.replayed,
          };
        case 'unknown_customer':
          throw new GatewayError('not_found', 'there is no such customer');
        case 'recipient':
          throw new GatewayError('conflict', 'this is a recipient’s wallet, and nobody can spend from it');
        case 'key_reused':
          throw new GatewayError('conflict', 'this Idempotency-Key was used for another credit');
        case 'too_much':
          throw new GatewayError('malformed_request', 'amountUsd is more than an account can hold');
        default:
          return assertNever(outcome);
      }
    },
  );
}
