import { type TSchema, Type } from 'typebox';
import { DEFAULT_PAGE, MAXIMUM_PAGE } from './limits.ts';

/** A documented answer with a JSON body. */
export function json(description: string, schema: TSchema, headers: readonly string[] = []) {
  return {
    description,
    content: { 'application/json': { schema } },
    ...(headers.length > 0 && {
      headers: Object.fromEntries(headers.map(name => [name, { type: 'string' }])),
    }),
  };
}

const strict = { additionalProperties: false };

const Usd = (description: string) => Type.Number({ description: `${description}, in USD` });
const BaseUnits = Type.String({ pattern: '^[0-9]+$', description: "Integer of the token's base units" });
const WalletText = Type.String({ description: 'EVM addresses in lower case' });

export const WalletParams = Type.Object({
  walletAddress: Type.String({
    pattern: '^(0x[0-9a-fA-F]{40}|[1-9A-HJ-NP-Za-km-z]{32,44})$',
    description: 'EVM address (any letter case) or Solana address',
  }),
});

export const PageQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAXIMUM_PAGE, default: DEFAULT_PAGE })),
  offset: Type.Optional(Type.Integer({ minimum: 0, default: 0 })),
});

export const PaymentHeaders = Type.Object({
  'payment-signature': Type.Optional(
    Type.String({
      description:
        'Base64 of the signed x402 payment payload (scheme `exact`, version 1 or 2). Also read as `X-402-Payment` and `X-PAYMENT`; without any, the price list is answered.',
    }),
  ),
});

export const ProofHeaders = Type.Object({
  'sign-in-with-x': Type.Optional(
    Type.String({
      description:
        'Base64 of a signed Sign-In-With-X message of the same wallet, good for one request. Also read as `X-Sign-In-With-X`.',
    }),
  ),
});

export const PaymentRequirements = Type.Object(
  {
    scheme: Type.Literal('exact'),
    network: Type.String({ description: 'CAIP-2', examples: ['eip155:8453'] }),
    amount: BaseUnits,
    asset: Type.String({ description: 'Token address' }),
    payTo: Type.String({ description: 'Receiver of the payment' }),
    maxTimeoutSeconds: Type.Integer(),
    extra: Type.Record(Type.String(), Type.String(), {
      description: 'EVM: EIP-712 name and version of the token',
    }),
  },
  strict,
);

export const PriceList = Type.Object(
  { x402Version: Type.Literal(2), accepts: Type.Array(PaymentRequirements) },
  {
    ...strict,
    description: 'One entry per way to pay, priced at the minimum. The signed amount is what is credited.',
  },
);

export const CodedError = Type.Object(
  {
    error: Type.String({ description: 'Stable code', examples: ['AMOUNT_TOO_LOW'] }),
    message: Type.String(),
    details: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  },
  strict,
);

export const PlainError = Type.Object({ error: Type.String() }, strict);

export const InvalidParameters = Type.Object(
  {
    error: Type.Literal('Invalid request parameters'),
    details: Type.Object({ problems: Type.Array(Type.String()) }),
  },
  strict,
);

export const TopupResult = Type.Object(
  {
    success: Type.Literal(true),
    data: Type.Object(
      {
        walletAddress: Type.String({ description: 'The payer, who is credited' }),
        amountCredited: Usd('Credit of this payment'),
        newBalance: Usd('Balance right after this credit'),
        paymentId: Type.String({ description: 'Names this payment at `GET /payments/{id}`' }),
      },
      strict,
    ),
  },
  strict,
);

export const BalanceResult = Type.Object(
  {
    success: Type.Literal(true),
    data: Type.Object(
      {
        walletAddress: WalletText,
        balanceUsd: Usd('Credit that can be spent; 0 for a wallet never seen'),
        canConsume: Type.Boolean({ description: 'Whether a metered request may start' }),
        minimumTopUpUsd: Type.Number(),
        suggestedTopUpUsd: Type.Number(),
      },
      strict,
    ),
  },
  strict,
);

const LedgerRow = Type.Object(
  {
    id: Type.String(),
    amount: Usd('Positive for credits, negative for charges'),
    balanceAfter: Usd('Balance after this row'),
    type: Type.Enum(['TOP_UP', 'CHARGE', 'REFUND']),
    createdAt: Type.String({ description: 'ISO 8601 time' }),
    requestId: Type.Union([Type.String(), Type.Null()]),
    modelId: Type.Union([Type.String(), Type.Null()]),
  },
  strict,
);

export const TransactionsResult = Type.Object(
  {
    success: Type.Literal(true),
    data: Type.Object(
      {
        walletAddress: WalletText,
        currentBalance: Usd('Credit that can be spent'),
        transactions: Type.Array(LedgerRow, { description: 'Newest first' }),
        pagination: Type.Object(
          { limit: Type.Integer(), offset: Type.Integer(), hasMore: Type.Boolean() },
          strict,
        ),
      },
      strict,
    ),
  },
  strict,
);

export const CredentialDiscovery = Type.Object({
  x402Version: Type.Literal(2),
  error: Type.String(),
  resource: Type.Object({ url: Type.String(), description: Type.String(), mimeType: Type.String() }),
  accepts: Type.Array(PaymentRequirements, { description: 'Empty: these routes cost nothing' }),
  extensions: Type.Object({
    'sign-in-with-x': Type.Object({
      info: Type.Object({
        domain: Type.String({ description: 'Host and port of this gateway' }),
        uri: Type.String(),
        version: Type.String(),
        nonce: Type.String(),
        issuedAt: Type.String(),
        expirationTime: Type.String(),
        statement: Type.String(),
      }),
      supportedChains: Type.Array(Type.Object({ chainId: Type.String(), type: Type.String() })),
    }),
  }),
  authOptions: Type.Object({
    apiKey: Type.Object({ header: Type.String(), getKey: Type.String(), docs: Type.String() }),
    x402Wallet: Type.Object({
      header: Type.String(),
      legacyHeader: Type.String(),
      topUp: Type.String(),
      docs: Type.String(),
    }),
  }),
});
