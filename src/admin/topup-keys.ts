import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import type { FundedKey, FundedKeyOrder } from '../accounts/funded-keys.ts';
import { readUsd } from './read-usd.ts';

/** Makes a key of a new customer. */
export type CreateKey = (order: FundedKeyOrder) => Promise<FundedKey>;

const NewKey = Type.Object(
  {
    environment: Type.Optional(
      Type.Union([Type.Literal('live'), Type.Literal('test')], { description: 'live unless said otherwise' }),
    ),
    balanceUsd: Type.Optional(
      Type.String({
        description: 'promotional credit to start with, decimal string; 1000 in test when absent',
      }),
    ),
    capUsd: Type.Optional(Type.String({ description: 'what the key may spend in a month, decimal string' })),
    allowedAddresses: Type.Optional(
      Type.Array(Type.String({ maxLength: 64 }), {
        maxItems: 100,
        description: 'addresses and CIDRs that may use the key; any when absent or empty',
        examples: [['203.0.113.7', '10.0.0.0/8', '2001:db8::/32']],
      }),
    ),
  },
  { additionalProperties: false },
);

const Key = Type.Object({
  apiKey: Type.String({ description: 'shown this once' }),
  customerId: Type.String(),
  environment: Type.Union([Type.Literal('live'), Type.Literal('test')]),
});

const Refusal = Type.Object({ error: Type.String(), message: Type.String() });

/** `POST /admin/v1/topup-keys`: an `ak_…` key of a new customer, for partners who send top-ups. */
export function adminTopupKeyRoutes(app: FastifyInstance, createKey: CreateKey): void {
  app.post<{ Body: Static<typeof NewKey> }>(
    '/topup-keys',
    {
      schema: {
        tags: ['operator'],
        security: [{ bearer: [] }],
        operationId: 'createTopupKey',
        summary: 'Make a key for a partner who sends top-ups',
        body: NewKey,
        response: { 200: Key, 400: Refusal, 401: Refusal },
      },
    },
    ({ body }) =>
      createKey({
        dialect: 'aitopup',
        environment: body.environment ?? 'live',
        balanceNanoUsd: body.balanceUsd === undefined ? undefined : readUsd('balanceUsd', body.balanceUsd),
        spendingCapNanoUsd: body.capUsd === undefined ? undefined : readUsd('capUsd', body.capUsd, 1n),
        allowedAddresses: body.allowedAddresses,
      }),
  );
}
