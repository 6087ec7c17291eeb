import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';

/** An operation that answers 402, as the API description has it. */
interface PaidOperation {
  method: string;
  path: string;
  summary: string;
}

interface Operation {
  summary?: string;
  responses?: Record<string, unknown>;
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
 * the description of the routes, which is made of the routes themselves, so neither can name what is not there.
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
      const sold = paidOperations(app).filter(({ path }) => !isMpp(path) && !path.includes('{'));
      return {
        version: 1 as const,
        resources: [...new Set(sold.map(({ path }) => `${publicOrigin}${path}`))],
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
    ({ method, path, summary }) =>
      `- ${method.toUpperCase()} ${publicOrigin}${path}: ${summary} (${isMpp(path) ? 'MPP' : 'x402'})`,
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

const isMpp = (path: string) => path.startsWith('/agent/mpp/');

function paidOperations(app: FastifyInstance): PaidOperation[] {
  const paths = (app.swagger().paths ?? {}) as Record<string, Partial<Record<string, Operation>>>;
  return Object.entries(paths).flatMap(([path, operations]) =>
    METHODS.flatMap(method => {
      const operation = operations[method];
      if (operation?.responses?.['402'] === undefined) return [];
      return [{ method, path, summary: operation.summary ?? '' }];
    }),
  );
}
