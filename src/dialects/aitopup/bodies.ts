import type { FastifyInstance } from 'fastify';
import { GatewayError } from '../../lib/errors.ts';
import { BODY_LIMIT_BYTES, MAX_BODY_DEPTH } from './limits.ts';

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
      else if (isDeeperThan(value, MAX_BODY_DEPTH))
        done(new GatewayError('malformed_request', 'the body is nested too deeply'));
      else done(null, value);
    });
  });
}

/** Level by level: whatever calls itself for each of them ends with the stack before such a body does. */
function isDeeperThan(value: unknown, depth: number): boolean {
  let level = [value];
  for (let n = 0; n <= depth && level.length > 0; n += 1) {
    level = level.flatMap(each => (typeof each === 'object' && each !== null ? Object.values(each) : []));
  }
  return level.length > 0;
}
