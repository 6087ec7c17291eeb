import { type TSchema, Type } from 'typebox';
import { EVENTS, PLATFORMS } from './limits.ts';

/**
 * Descriptions for the OpenAPI document. Nothing is validated by them: the order of the checks and the code
 * of each is the contract's (see `wire.ts`), and one validator that lists all problems at once cannot keep it.
 */

const orNull = (schema: TSchema) => Type.Union([schema, Type.Null()]);

export const Envelope = Type.Object({
  success: Type.Boolean(),
  code: Type.Integer({ description: '1000 to 5002' }),
  transaction_id: orNull(Type.String()),
  status: Type.String({ examples: ['delivered'] }),
  timestamp: Type.String({ format: 'date-time' }),
  data: Type.Object({}, { additionalProperties: true }),
});

/** Every answer has the same members, so every status is described by them. */
export function answers(success: string, refusals: Readonly<Record<number, string>>) {
  const all = {
    200: success,
    400: 'Malformed (2000)',
    401: 'The key is not valid (2001)',
    403: 'Not from this address (4002)',
    429: 'Too many requests with this key (4001)',
    503: 'A part is down, try again (5000)',
    ...refusals,
  };
  const content = { 'application/json': { schema: Envelope } };
  return Object.fromEntries(
    Object.entries(all).map(([status, description]) => [status, { description, content }]),
  );
}

export const SendRequest = Type.Object({
  platform: Type.String({ examples: [...PLATFORMS] }),
  amount_cents: Type.Integer({ examples: [2500] }),
  recipient_email: Type.Optional(orNull(Type.String({ description: 'the owner of the key when absent' }))),
  reference: Type.Optional(Type.String({ maxLength: 64, description: 'your own id, used once' })),
  metadata: Type.Optional(Type.Object({}, { additionalProperties: { type: 'string' } })),
});

export const CancelRequest = Type.Object({
  transaction_id: Type.Optional(Type.String()),
  reference: Type.Optional(Type.String()),
});

export const ThresholdRequest = Type.Object({ threshold_cents: orNull(Type.Integer({ minimum: 0 })) });

export const FundRequest = Type.Object({ amount_cents: Type.Integer({ examples: [10_000] }) });

export const RegisterRequest = Type.Object({
  url: Type.String({ examples: ['https://shop.example.org/hooks/aitopup'] }),
  events: Type.Optional(Type.Array(Type.Union(EVENTS.map(event => Type.Literal(event))))),
  verify: Type.Optional(Type.Boolean()),
});

export const UpdateRequest = Type.Object({
  url: Type.Optional(Type.String()),
  events: Type.Optional(Type.Array(Type.String())),
  active: Type.Optional(Type.Boolean()),
});

/** What every route of the dialect has in common. */
export function describe(operationId: string, summary: string, parts: Record<string, unknown>) {
  return { tags: ['aitopup'], security: [{ bearer: [] }], operationId, summary, ...parts };
}
