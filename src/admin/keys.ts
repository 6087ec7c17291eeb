import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import { formatUsd } from '../lib/money.ts';
import type { KeyVerification } from '../subscriptions/key-verification.ts';

const VerifyRequest = Type.Object(
  {
    apiKey: Type.String({
      minLength: 1,
      maxLength: 1024,
      description:
        'what was presented in `Authorization`, with or without `Bearer`, or in `x-api-key`; a short-lived token is good with `Bearer` alone, and each check takes one of its requests',
    }),
    callerAddress: Type.Optional(
      Type.String({ maxLength: 64, description: 'who presented it, for keys bound to addresses' }),
    ),
  },
  { additionalProperties: false },
);

const TokenState = Type.Object({
  id: Type.String({ format: 'uuid' }),
  requestLimit: Type.Integer(),
  remaining: Type.Integer({ description: 'after this check' }),
  expiresAt: Type.String({ format: 'date-time' }),
});

const Verdict = Type.Union([
  Type.Object({
    valid: Type.Literal(false),
    reason: Type.Optional(
      Type.Literal('request_limit_reached', { description: 'a token whose requests are used up' }),
    ),
  }),
  Type.Object({
    valid: Type.Literal(true),
    keyId: Type.String({ format: 'uuid' }),
    dialect: Type.String(),
    environment: Type.Union([Type.Literal('live'), Type.Literal('test')]),
    customerId: Type.String({ format: 'uuid' }),
    userId: Type.Union([Type.String(), Type.Null()], { description: 'the agent, where it is one' }),
    plan: Type.Union([Type.String(), Type.Null()]),
    planActive: Type.Boolean(),
    planActiveUntil: Type.Union([Type.String({ format: 'date-time' }), Type.Null()]),
    creditsLeft: Type.String({ description: 'whole credits, rounded down; 0 when spent' }),
    availableUsd: Type.String({
      description: 'the same as exact dollars; a plan’s credits count as those that are topped up',
    }),
    token: Type.Union([TokenState, Type.Null()], { description: 'when a token was presented' }),
  }),
]);

const Refusal = Type.Object({ error: Type.String(), message: Type.String() });

/** `POST /admin/v1/keys/verify`: for a backend that serves requests which carry keys. */
export function adminKeyRoutes(app: FastifyInstance, keys: KeyVerification): void {
  app.post<{ Body: Static<typeof VerifyRequest> }>(
    '/keys/verify',
    {
      schema: {
        tags: ['admin'],
        operationId: 'verifyApiKey',
        summary: 'Whose API key it is, its plan and what credit is left',
        description:
          'Reads the database every time, so a revocation counts at once. Unknown, expired and revoked keys get the same answer. To be asked once for each request.',
        security: [{ bearer: [] }],
        body: VerifyRequest,
        response: { 200: Verdict, 400: Refusal, 401: Refusal, 503: Refusal },
      },
    },
    async request => {
      const { apiKey, callerAddress } = request.body;
      const key = await keys.verify(apiKey, callerAddress);
      if (!key) return { valid: false as const };
      if (key.kind === 'exhausted')
        return { valid: false as const, reason: 'request_limit_reached' as const };
      const { agent, token } = key;
      return {
        valid: true as const,
        keyId: key.keyId,
        dialect: key.dialect,
        environment: key.environment,
        customerId: key.customerId,
        userId: agent?.agentId ?? null,
        plan: agent?.plan ?? null,
        planActive: agent?.active ?? false,
        planActiveUntil: agent?.activeUntil.toISOString() ?? null,
        creditsLeft: key.availableCredits.toString(),
        availableUsd: formatUsd(key.availableNanoUsd),
        token: token
          ? {
              id: token.tokenId,
              requestLimit: token.requestLimit,
              remaining: token.remaining,
              expiresAt: token.expiresAt.toISOString(),
            }
          : null,
      };
    },
  );
}
