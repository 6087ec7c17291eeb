import type { FastifyInstance } from 'fastify';
import type { RateLimiters } from '../../http/rate-limit.ts';
import { perHolder } from './authentication.ts';
import { READ_RATE } from './limits.ts';
import { MODELS } from './model-list.ts';
import { errorText, json, ModelList } from './schemas.ts';

export const MODELS_PATH = '/models';

const schema = {
  operationId: 'driaModels',
  tags: ['dria'],
  summary: 'Models that can be used',
  security: [{ bearer: [] }],
  response: {
    200: json('All models, as OpenAI clients read them', ModelList),
    401: errorText('The key is missing or not valid'),
    429: errorText('Too many calls with this key', ['Retry-After']),
    503: errorText('A part is down, try again', ['Retry-After']),
  },
};

const LIST = {
  object: 'list',
  data: MODELS.map(({ id, created, nodes }) => ({ id, object: 'model', created, owned_by: 'dria', nodes })),
} as const;

/** `GET /v1/models`. */
export function modelsRoute(app: FastifyInstance, limiters: RateLimiters): void {
  app.get(MODELS_PATH, { schema, onRequest: perHolder(limiters.perKey(READ_RATE)) }, () => LIST);
}
