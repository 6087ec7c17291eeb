import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { OFFER_MARK, type OfferMark } from '../protocols/offer-mark.ts';

/** An operation that is answered by an offer, as the API description has it. */
interface PaidOperation {
  method: string;
  /** With a query that it is answered for. */
  url: string;
  summary: string;
  protocol: OfferMark['protocol'];
  /** Nobody without a key is made the offer. */
  needsKey: boolean;
}

interface Operation {
  summary?: string;
  security?: unknown[];
  parameters?: { in: string; name: string; required?: boolean; example?: unknown }[];
  [OFFER_MARK]?: OfferMark;
}

const METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const;

const Resources = Type.Object(
  {
    version: Type.Literal(1),
    resources: Type.Array(Type.String({ description: 'URL that answers an offer' })),
  },
  { description: 'What is sold here' },
);

/**
 * Tells agents what is sold here: `/.well-known/x402` as a list of URLs, `/llms.txt` as text. Both are read from
 * the marks that the makers of the offers leave on their routes, so neither can name what is not offered.
 */
export function registerDiscovery(app: FastifyInstance, { publicOrigin }: { publicOrigin: string }): void {
  app.get(
    '/.well-known/x402',
    {
      schema: {
        tags: ['discovery'],
        operationId: 'getX402Resources',
        summary: 'What is sold by x402',
        response: { 200: Resources },
      },
    },
    () => {
      const sold = paidOperations(app).filter(({ protocol, needsKey }) => protocol === 'x402' && !needsKey);
      return {
        version: 1 as const,
        resources: [...new Set(sold.map(({ url }) => `${publicOrigin}${url}`))],
      };
    },
  );

  app.get(
    '/llms.txt',
    {
      schema: {
        tags: ['discovery'],
        operationId: 'getLlmsText',
        summary: 'The paid routes, for language models',
        response: { 200: { description: 'Markdown', content: { 'text/plain': { schema: Type.String() } } } },
      },
    },
    async (_request, reply) => reply.type('text/plain; charset=utf-8').send(llmsText(app, publicOrigin)),
  );
}

function llmsText(app: FastifyInstance, publicOrigin: string): string {
  const lines = paidOperations(app).map(
    ({ method, url, summary, protocol, needsKey }) =>
      `- ${method.toUpperCase()} ${publicOrigin}${url}: ${summary} (${protocol === 'mpp' ? 'MPP' : 'x402'}${needsKey ? ', with an API key' : ''})`,
  );
  return [
    '# x402-topup-gateway',
    '',
    '> Prepaid credit for stablecoins. A call without a payment is answered with 402 and its price; the same call with a signed payment is settled and answered.',
    '',
    '## Paid routes',
    '',
    ...lines,
    '',
    '## Documents',
    '',
    `- [OpenAPI](${publicOrigin}/openapi.json): every route, with prices in x-payment-info`,
    `- [API pages](${publicOrigin}/docs)`,
    '',
  ].join('\n');
}

function paidOperations(app: FastifyInstance): PaidOperation[] {
  const paths = (app.swagger().paths ?? {}) as Record<string, Partial<Record<string, Operation>>>;
  return Object.entries(paths).flatMap(([path, operations]) =>
    METHODS.flatMap(method => {
      const operation = operations[method];
      const mark = operation?.[OFFER_MARK];
      if (!operation || !mark) return [];
      const { summary = '', security = [] } = operation;
      const url = `${path}${exampleQuery(operation)}`;
      return [{ method, url, summary, protocol: mark.protocol, needsKey: security.length > 0 }];
    }),
  );
}

/** Without what it requires in its query, a call is malformed and no offer is made. */
function exampleQuery({ parameters = [] }: Operation): string {
  const required = parameters.filter(each => each.in === 'query' && each.required);
  const query = new URLSearchParams();
  for (const { name, example } of required) query.set(name, String(example));
  return query.size > 0 ? `?${query.toString()}` : '';
}
