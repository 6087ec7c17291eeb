import { type TSchema, Type } from 'typebox';
import { FREQUENCIES, PLAN_NAMES } from '../../subscriptions/plans.ts';

/** A documented answer with a JSON body. */
export function json(
  description: string,
  schema: TSchema,
  headers: readonly string[] = [],
  type = 'application/json',
) {
  return {
    description,
    content: { [type]: { schema } },
    ...(headers.length > 0 && {
      headers: Object.fromEntries(headers.map(name => [name, { type: 'string' }])),
    }),
  };
}

const strict = { additionalProperties: false };

export const PaymentHeaders = Type.Object({
  'payment-signature': Type.Optional(
    Type.String({ description: 'Base64 of the signed payment, x402 version 2' }),
  ),
  'x-payment': Type.Optional(Type.String({ description: 'Base64 of the signed payment, x402 version 1' })),
});

export const KeyHeaders = Type.Object({
  authorization: Type.Optional(Type.String({ description: 'An API key, alone or after `Bearer`' })),
  'x-api-key': Type.Optional(Type.String({ description: 'An API key' })),
});

export const MppHeaders = Type.Object({
  authorization: Type.Optional(
    Type.String({ description: '`Payment` and the credential, base64url of its JSON' }),
  ),
});

export const Problem = Type.Object(
  {
    type: Type.String({ description: 'URI of the kind of problem' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    challengeId: Type.Optional(Type.String()),
  },
  { description: 'RFC 9457' },
);

export const NoQuery = Type.Object({});

export const SubscribeQuery = Type.Object({
  plan: Type.String({ description: `${PLAN_NAMES.join(', ')}; in any letter case`, examples: ['startup'] }),
  payment_frequency: Type.String({
    description: `${FREQUENCIES.join(' or ')}; in any letter case`,
    examples: ['monthly'],
  }),
  upgrade: Type.Optional(
    Type.String({ description: 'true or 1: change an active plan; what is unused of it becomes credit' }),
  ),
  api_key: Type.Optional(Type.String({ description: 'The key of the agent to answer with' })),
  user_id: Type.Optional(Type.String({ description: 'Must be the agent of the paying wallet' })),
});

export const TopupQuery = Type.Object({
  agent_id: Type.String({
    description: 'The `user_id` of the agent',
    minLength: 1,
    maxLength: 100,
    examples: ['agt_019aa1'],
  }),
  amount_usd: Type.String({
    description: 'Dollars from 20 to 10000, at most six decimals',
    examples: ['20'],
  }),
});

export const RevokeQuery = Type.Object({
  api_key: Type.String({
    description: 'The key to revoke',
    minLength: 1,
    maxLength: 200,
    examples: ['mbl_example'],
  }),
});

export const StatusResult = Type.Object(
  {
    user_id: Type.String({ description: 'The agent', examples: ['agt_019aa1'] }),
    api_keys: Type.Array(Type.String(), { description: 'Active keys, newest first' }),
    plan: Type.String({ description: 'The plan that runs, or ran last' }),
    last_payment: Type.Union([Type.String({ format: 'date-time' }), Type.Null()]),
    payment_frequency: Type.String(),
    left_days: Type.Integer({ description: 'Days left, rounded up; 0 when the plan is over' }),
    credits_left: Type.Integer(),
    plan_active: Type.Boolean(),
  },
  strict,
);

export const KeyResult = Type.Object({ api_key: Type.String(), user_id: Type.String() }, strict);

export const TopupResult = Type.Object(
  {
    credits_added: Type.Integer(),
    new_credits_limit: Type.Integer({ description: 'Credits of this period: its start and what came since' }),
  },
  strict,
);

export const RevokeResult = Type.Object({ deleted: Type.Literal(true) }, strict);

export const Refusal = Type.Object({
  error: Type.String({ description: 'A stable code' }),
  message: Type.String(),
});

export const PaymentRequired = Type.Object({
  x402Version: Type.Literal(2),
  error: Type.String({ description: 'Why no payment was taken' }),
  resource: Type.Object({ url: Type.String(), description: Type.String(), mimeType: Type.String() }),
  accepts: Type.Array(
    Type.Object({
      scheme: Type.Literal('exact'),
      network: Type.String(),
      amount: Type.String({ description: 'Base units; sign exactly this' }),
      asset: Type.String(),
      payTo: Type.String(),
      maxTimeoutSeconds: Type.Integer(),
      extra: Type.Object({}, { additionalProperties: true }),
    }),
  ),
});
