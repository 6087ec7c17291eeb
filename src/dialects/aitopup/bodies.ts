import type { FastifyInstance } from 'fastify';
import { GatewayError } from '../../lib/errors.ts';
import { BODY_LIMIT_BYTES } from './limits.ts';

/** A body is JSON or missing: clients announce JSON also where they send nothing. */
export function readBodiesAsJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  const parse = app.getDefaultJsonParser('error', 'error');
  const options = { parseAs: 'string', bodyLimit: BODY_LIMIT_BYTES } as const;
  app.addContentTypeParser('application/json', options, (request, body: string, done) => {
    if (body.trim() === '') {
      done(null, undefined);
      return;
    }
    void parse(request, body, (error: Error | null, value?: unknown) => {
      if (error) done(new GatewayError('malformed_request', 'the body is not JSON'));
      else done(null, value);
    });
  });
}
