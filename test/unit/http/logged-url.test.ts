import { type FastifyBaseLogger, fastify } from 'fastify';
import { expect, it } from 'vitest';
import { createLog } from '../../../src/http/log.ts';

const KEY = `mbl_${'k3y'.repeat(14)}`.slice(0, 44);

it.each([
  [`/agent/x402/api-keys/revoke?api_key=${KEY}`, '/agent/x402/api-keys/revoke?api_key=[redacted]'],
  ['/agent/x402/subscribe?plan=a&API_KEY=guess&x=1', '/agent/x402/subscribe?plan=a&API_KEY=[redacted]&x=1'],
  ['/api/2/auth/token?token=eyJh.eyJz.c2ln', '/api/2/auth/token?token=[redacted]'],
  [`/agent/mpp/api-keys/revoke/${KEY}`, '/agent/mpp/api-keys/revoke/[redacted]'],
  [`/x?key=dkn_live_${'a'.repeat(40)}`, '/x?key=[redacted]'],
  ['/healthz?full=1', '/healthz?full=1'],
])('the log of %s says %s', async (url, shown) => {
  const lines: string[] = [];
  const log: FastifyBaseLogger = createLog('info', { write: line => void lines.push(line) });
  const app = fastify({ loggerInstance: log });
  await app.inject({ url });
  await app.close();
  expect(lines.join('')).toContain(`"url":"${shown}"`);
});
