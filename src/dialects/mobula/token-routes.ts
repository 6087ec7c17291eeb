import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type Static, Type } from 'typebox';
import type { RateLimiters } from '../../http/rate-limit.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { ApiToken, ApiTokens, TokenOrder } from '../../subscriptions/api-tokens.ts';
import { BODY_LIMIT_BYTES, TOKEN_COUNT, TOKEN_LIFETIME_MS, TOKEN_RATE, TOKEN_REQUESTS } from './limits.ts';
import type { MobulaOptions } from './options.ts';
import { json, KeyHeaders, Refusal } from './schemas.ts';

export const TOKEN_PREFIX = '/api/2/auth';

type AgentKey = Awaited<ReturnType<ApiTokens['authenticate']>>;

const NewTokens = Type.Object(
  {
    expiresIn: Type.Optional(
      Type.Integer({
        description: `milliseconds, ${TOKEN_LIFETIME_MS.fallback} when absent`,
        minimum: TOKEN_LIFETIME_MS.least,
        maximum: TOKEN_LIFETIME_MS.most,
      }),
    ),
    count: Type.Optional(Type.Integer({ minimum: 1, maximum: TOKEN_COUNT.most })),
    requestLimit: Type.Optional(
      Type.String({
        description: `a number as text, at most ${TOKEN_REQUESTS.most}; ${TOKEN_REQUESTS.fallback} when absent`,
        pattern: '^[1-9][0-9]{0,6}$',
        examples: ['1000'],
      }),
    ),
  },
  { minProperties: 1, description: 'At least one of the three' },
);

const tokenFields = {
  id: Type.String({ format: 'uuid' }),
  expiresTimeString: Type.String({ format: 'date-time' }),
  requestLimit: Type.String(),
  remaining: Type.String({ description: 'Requests that are left' }),
};
const Token = Type.Object(tokenFields);
const NewToken = Type.Object({
  ...tokenFields,
  token: Type.String({ description: 'Told this once; to be sent as `Authorization: Bearer`' }),
});

const REFUSALS = {
  401: json('No good API key of an agent', Refusal),
  503: json('A part is down: try again', Refusal, ['Retry-After']),
};

/**
 * Short-lived tokens of an agent's key. To be registered as a plugin of its own: unlike what is paid for here, these
 * routes read bodies.
 */
export function tokenRoutes(
  app: FastifyInstance,
  { apiTokens }: MobulaOptions,
  limiters: RateLimiters,
): void {
  readJson(app);
  // Before bodies are read: a caller without a key does not learn what is wrong with its request.
  app.decorateRequest(KEY);
  app.addHook('onRequest', async request => {
    request.setDecorator(KEY, await apiTokens.authenticate(presentedKey(request), request.ip));
  });
  const limit = limiters.perKey(TOKEN_RATE);
  const shared = { tags: ['mobula'], security: [{ bearer: [] }], headers: KeyHeaders };

  app.post<{ Body: Static<typeof NewTokens> }>(
    `${TOKEN_PREFIX}/tokens`,
    {
      bodyLimit: BODY_LIMIT_BYTES,
      onRequest: request => limit(request, keyOf(request).keyId),
      schema: {
        ...shared,
        operationId: 'mobulaCreateTokens',
        summary: 'Make short-lived tokens',
        description:
          'Each is good until it ends, for so many requests, and as long as the key is that made it; in `Authorization: Bearer` alone.',
        body: NewTokens,
        response: {
          200: json('The tokens', Type.Object({ createApiTokens: Type.Array(NewToken) })),
          400: json('The body is malformed', Refusal),
          403: json('The plan is not active, or the key has too many tokens', Refusal),
          429: json('More than 5 calls a minute with one key', Refusal, ['Retry-After']),
          ...REFUSALS,
        },
      },
    },
    async request => {
      const made = await apiTokens.create(keyOf(request), readOrder(request.body));
      return { createApiTokens: made.map(each => ({ ...tokenBody(each), token: each.token })) };
    },
  );

  app.get(
    `${TOKEN_PREFIX}/tokens`,
    {
      schema: {
        ...shared,
        operationId: 'mobulaListTokens',
        summary: 'The good tokens of the key, newest first',
        response: {
          200: json('At most 1,000', Type.Object({ apiTokens: Type.Array(Token) })),
          ...REFUSALS,
        },
      },
    },
    async request => ({ apiTokens: (await apiTokens.list(keyOf(request))).map(tokenBody) }),
  );

  app.get<{ Querystring: { token: string } }>(
    `${TOKEN_PREFIX}/token`,
    {
      schema: {
        ...shared,
        operationId: 'mobulaInspectToken',
        summary: 'What is left of a token',
        querystring: Type.Object({ token: Type.String({ minLength: 1, maxLength: 1_024 }) }),
        response: {
          200: json('The token', Type.Object({ apiToken: Token })),
          400: json('There is no token in the query', Refusal),
          404: json('No good token of this key', Refusal),
          ...REFUSALS,
        },
      },
    },
    async request => {
      const token = await apiTokens.inspect(keyOf(request), request.query.token);
      if (!token) throw new GatewayError('not_found', 'the key has no such token');
      return { apiToken: tokenBody(token) };
    },
  );

  app.delete<{ Params: { id: string } }>(
    `${TOKEN_PREFIX}/tokens/:id`,
    {
      schema: {
        ...shared,
        operationId: 'mobulaRevokeToken',
        summary: 'Revoke a token',
        params: Type.Object({ id: Type.String({ format: 'uuid' }) }),
        response: {
          200: json('It works no more', Type.Object({ deleteApiToken: Type.String({ format: 'uuid' }) })),
          400: json('The id is none', Refusal),
          404: json('No good token of this key', Refusal),
          ...REFUSALS,
        },
      },
    },
    async request => {
      const { id } = request.params;
      const revoked = await apiTokens.revoke(keyOf(request), id.toLowerCase());
      if (!revoked) throw new GatewayError('not_found', 'the key has no such token');
      return { deleteApiToken: id.toLowerCase() };
    },
  );
}

const KEY = 'agentKey';

function keyOf(request: FastifyRequest): AgentKey {
  return request.getDecorator<AgentKey>(KEY);
}

const BEARER = /^bearer +/i;

/** A key as it is, with `Bearer` before it, or in `x-api-key`. */
function presentedKey({ headers }: FastifyRequest): string | undefined {
  const value = headers.authorization ?? headers['x-api-key'];
  return typeof value === 'string' ? value.trim().replace(BEARER, '') : undefined;
}

function readOrder({ expiresIn, count, requestLimit }: Static<typeof NewTokens>): TokenOrder {
  const requests = requestLimit === undefined ? TOKEN_REQUESTS.fallback : Number(requestLimit);
  if (requests > TOKEN_REQUESTS.most) {
    throw new GatewayError('malformed_request', `requestLimit must be at most ${TOKEN_REQUESTS.most}`);
  }
  if (expiresIn === undefined && count === undefined && requestLimit === undefined) {
    throw new GatewayError('malformed_request', 'give at least one of expiresIn, count and requestLimit');
  }
  return {
    count: count ?? TOKEN_COUNT.fallback,
    lifetimeMs: expiresIn ?? TOKEN_LIFETIME_MS.fallback,
    requestLimit: requests,
  };
}

function tokenBody({ tokenId, expiresAt, requestLimit, remaining }: ApiToken) {
  return {
    id: tokenId,
    expiresTimeString: expiresAt.toISOString(),
    requestLimit: requestLimit.toString(),
    remaining: remaining.toString(),
  };
}

function readJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  const parse = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser('application/json', { parseAs: 'string' }, parse);
}
