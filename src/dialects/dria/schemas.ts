import { type TSchema, Type } from 'typebox';
import { CHANNELS } from '../../accounts/channels.ts';
import { DEFAULT_MESSAGES, MAXIMUM_MESSAGES } from './limits.ts';

function answer(description: string, type: string, schema: TSchema, headers: readonly string[]) {
  return {
    description,
    content: { [type]: { schema } },
    ...(headers.length > 0 && {
      headers: Object.fromEntries(headers.map(name => [name, { type: 'string' }])),
    }),
  };
}

/** A documented answer with a JSON body. */
export function json(description: string, schema: TSchema, headers: readonly string[] = []) {
  return answer(description, 'application/json', schema, headers);
}

/** A documented refusal: one line of text. */
export function errorText(description: string, headers: readonly string[] = []) {
  return answer(description, 'text/plain', Type.String(), headers);
}

const strict = { additionalProperties: false };

const Credits = (description: string) =>
  Type.Integer({ description: `${description}, in credits of one cent` });

export const PaymentHeaders = Type.Object({
  'x-payment': Type.Optional(Type.String({ description: 'Base64 of the signed payment, x402 version 1' })),
  'payment-signature': Type.Optional(
    Type.String({ description: 'Base64 of the signed payment, x402 version 2' }),
  ),
});

export const TopupRequest = Type.Object({
  amount: Type.Union([Type.String(), Type.Number()], {
    description: 'USDC (not credits) with at most two decimals, from 0.01 to 10000',
    examples: ['25'],
  }),
});

export const BalanceResult = Type.Object(
  {
    balance: Credits('Credit that can be spent'),
    balance_usdc: Type.String({ description: 'The same in USDC, two decimals', examples: ['7.35'] }),
  },
  strict,
);

export const TopupResult = Type.Object(
  {
    credits_added: Credits('Credit of this payment'),
    balance: Credits('Balance right after this credit'),
    balance_usdc: Type.String({ description: 'The same in USDC, two decimals', examples: ['32.35'] }),
    txHash: Type.String({ description: 'The transfer on chain' }),
  },
  strict,
);

export const PaymentRequired = Type.Object(
  {
    x402Version: Type.Literal(1),
    error: Type.String({ description: 'x402 reason, or that a payment is needed' }),
    accepts: Type.Array(
      Type.Object(
        {
          scheme: Type.Literal('exact'),
          network: Type.String({ description: 'Name of version 1', examples: ['base', 'base-sepolia'] }),
          maxAmountRequired: Type.String({
            pattern: '^[0-9]+$',
            description: 'Base units; sign exactly this',
          }),
          resource: Type.String({ description: 'Absolute URL of this route' }),
          description: Type.String(),
          mimeType: Type.String(),
          payTo: Type.String(),
          asset: Type.String({ description: 'USDC contract' }),
          maxTimeoutSeconds: Type.Integer(),
          extra: Type.Object(
            { name: Type.String(), version: Type.String() },
            { ...strict, description: 'EIP-712 domain of the token' },
          ),
        },
        strict,
      ),
    ),
  },
  strict,
);

export const WalletKeyRequest = Type.Object({
  address: Type.String({ pattern: '^0x[0-9a-fA-F]{40}$' }),
  message: Type.String({ minLength: 1, maxLength: 2_000 }),
  signature: Type.String({
    pattern: '^0x([0-9a-fA-F]{2})+$',
    maxLength: 8_194,
    description: 'EIP-191: 65 bytes for a key, anything for a contract wallet (ERC-1271)',
  }),
  environment: Type.Optional(
    Type.Union([Type.Literal('live'), Type.Literal('test')], {
      description: 'Test keys pay with test USDC and spend only what was bought so',
    }),
  ),
});

export const WalletKeyResult = Type.Object(
  { api_key: Type.String(), apiKey: Type.String(), address: Type.String({ description: 'In lower case' }) },
  strict,
);

export const ModelList = Type.Object(
  {
    object: Type.Literal('list'),
    data: Type.Array(
      Type.Object(
        {
          id: Type.String(),
          object: Type.Literal('model'),
          created: Type.Integer({ description: 'Unix seconds' }),
          owned_by: Type.String(),
          nodes: Type.Integer({ description: 'Upstreams that serve the model' }),
        },
        strict,
      ),
    ),
  },
  strict,
);

const ChannelName = Type.Union(CHANNELS.map(name => Type.Literal(name)));

export const NewMessage = Type.Object({
  channel: ChannelName,
  content: Type.String({ minLength: 1, maxLength: 2_000, pattern: '\\S' }),
  name: Type.Optional(
    Type.String({
      pattern: '^[a-z0-9_-]{1,32}$',
      description: 'Shown as the author; one is made up if absent',
    }),
  ),
  avatar: Type.Optional(Type.String({ maxLength: 2_048, pattern: '^https://[^\\s]+$' })),
});

const Time = Type.String({ format: 'date-time', description: 'ISO 8601 with a time zone' });

export const MessageQuery = Type.Object({
  channel: ChannelName,
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAXIMUM_MESSAGES, default: DEFAULT_MESSAGES })),
  before: Type.Optional(Time),
  after: Type.Optional(Time),
});

export const Message = Type.Object(
  {
    id: Type.String(),
    channel: ChannelName,
    author: Type.String({ description: 'The same for all messages of one customer' }),
    authorName: Type.String(),
    authorType: Type.Union([Type.Literal('api'), Type.Literal('discord')]),
    content: Type.String(),
    createdAt: Type.String({ format: 'date-time' }),
  },
  strict,
);

export const MessageList = Type.Object({ messages: Type.Array(Message) }, strict);
