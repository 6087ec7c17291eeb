import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import { type KeyAdmin, type KeyView, MAX_KEYS_LISTED } from '../accounts/key-admin.ts';
import { formatUsd } from '../lib/money.ts';

const Text = (description: string, maxLength = 200) => Type.String({ maxLength, description });
const Owner = {
  customerId: Type.Optional(Text('whose keys; not together with `wallet`')),
  wallet: Type.Optional(Text('CAIP-10 account id of a wallet, whose customer it is')),
};
const environment = Type.Optional(Text('`live` or `test`; `staging` is read as `test`'));
const dialect = 'wire dialect that takes the key: `dria`, `mobula` or `aitopup`';
const actor = Type.Optional(Text('who asks for it; `operator` when absent'));

const NewKey = Type.Object(
  {
    dialect: Text(dialect),
    ...Owner,
    environment,
    expiresAt: Type.Optional(Text('time to come, ISO 8601 with its zone; never when absent')),
    capUsd: Type.Optional(Text('what the key may spend in a calendar month, decimal string')),
    allowedAddresses: Type.Optional(
      Type.Array(Text('address or CIDR'), { maxItems: 100, description: 'anybody when absent' }),
    ),
    actor,
  },
  { additionalProperties: false },
);

const KeyQuery = Type.Object({
  ...Owner,
  dialect: Type.Optional(Text(dialect)),
  environment,
  usable: Type.Optional(Type.Boolean({ description: 'leave out what has expired or was revoked' })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_KEYS_LISTED, default: 50 })),
  before: Type.Optional(Text('id of the last key of the page before')),
});

const orNull = (schema: ReturnType<typeof Type.String>) => Type.Union([schema, Type.Null()]);
const Time = Type.String({ format: 'date-time' });

const Key = Type.Object({
  keyId: Type.String({ format: 'uuid' }),
  customerId: Type.String({ format: 'uuid' }),
  dialect: Type.String(),
  environment: Type.Union([Type.Literal('live'), Type.Literal('test')]),
  state: Type.Union([Type.Literal('usable'), Type.Literal('expired'), Type.Literal('revoked')]),
  lastFour: Type.String({ description: 'the end of the key, to recognise it by' }),
  allowedAddresses: Type.Array(Type.String(), { description: 'CIDRs; empty: anybody' }),
  capUsd: orNull(Type.String({ description: 'in a calendar month' })),
  createdAt: Time,
  createdBy: orNull(Type.String({ description: 'null: its owner' })),
  expiresAt: orNull(Time),
  revokedAt: orNull(Time),
  revokedBy: orNull(Type.String({ description: 'null: its owner, or nobody' })),
});

const MadeKey = Type.Object({ apiKey: Type.String({ description: 'shown this once' }), ...Key.properties });
const Refusal = Type.Object({ error: Type.String(), message: Type.String() });
const common = { tags: ['operator'], security: [{ bearer: [] }] };

/** `POST`, `GET` and `DELETE /admin/v1/keys`: keys of every dialect, and of customers who cannot end theirs. */
export function adminKeyOrderRoutes(app: FastifyInstance, keys: KeyAdmin): void {
  app.post<{ Body: Static<typeof NewKey> }>(
    '/keys',
    {
      schema: {
        ...common,
        operationId: 'createApiKey',
        summary: 'Make an API key',
        description:
          'For a customer, for the customer of a wallet, or for a new customer without credit. An agent’s own status (mobula) lists the keys that it bought and not this one.',
        body: NewKey,
        response: { 200: MadeKey, 400: Refusal, 401: Refusal, 404: Refusal, 503: Refusal },
      },
    },
    async ({ body }) => {
      const { apiKey, ...key } = await keys.create({ ...body, actor: body.actor ?? OPERATOR });
      return { apiKey, ...keyBody(key) };
    },
  );

  app.get<{ Querystring: Static<typeof KeyQuery> }>(
    '/keys',
    {
      schema: {
        ...common,
        operationId: 'listApiKeys',
        summary: 'API keys, newest first',
        querystring: KeyQuery,
        response: {
          200: Type.Object({ keys: Type.Array(Key), hasMore: Type.Boolean() }),
          400: Refusal,
          401: Refusal,
          404: Refusal,
          503: Refusal,
        },
      },
    },
    async ({ query }) => {
      const page = await keys.list({ ...query, limit: query.limit ?? 50 });
      return { keys: page.keys.map(keyBody), hasMore: page.hasMore };
    },
  );

  const RevokeQuery = Type.Object({ actor });
  app.delete<{ Params: { keyId: string }; Querystring: Static<typeof RevokeQuery> }>(
    '/keys/:keyId',
    {
      schema: {
        ...common,
        operationId: 'revokeApiKey',
        summary: 'End an API key for good',
        description: 'Every process refuses it within a second. A key that has ended before stays as it is.',
        params: Type.Object({ keyId: Type.String({ maxLength: 64 }) }),
        querystring: RevokeQuery,
        response: { 200: Key, 400: Refusal, 401: Refusal, 404: Refusal, 503: Refusal },
      },
    },
    async ({ params, query }) => {
      const { key } = await keys.revoke({ keyId: params.keyId, actor: query.actor ?? OPERATOR });
      return keyBody(key);
    },
  );
}

const OPERATOR = 'operator';

/** A key as JSON tells it, to HTTP and to the command line. */
export function keyBody(key: KeyView) {
  return {
    keyId: key.keyId,
    customerId: key.customerId,
    dialect: key.dialect,
    environment: key.environment,
    state: key.state,
    lastFour: key.lastFour,
    allowedAddresses: [...key.allowedAddresses],
    capUsd: key.spendingCapNanoUsd === undefined ? null : formatUsd(key.spendingCapNanoUsd),
    createdAt: key.createdAt.toISOString(),
    createdBy: key.createdBy ?? null,
    expiresAt: key.expiresAt?.toISOString() ?? null,
    revokedAt: key.revokedAt?.toISOString() ?? null,
    revokedBy: key.revokedBy ?? null,
  };
}
