import { type FastifyBaseLogger, fastify } from 'fastify';
import { expect, it } from 'vitest';
import { setDefaultErrors } from '../../../src/http/errors.ts';
import { createLog } from '../../../src/http/log.ts';

const CODE = 'ATU-8KQ2-V6ND-3RTM';

/** What the log says of a request, whether or not its route exists. */
async function logOf(method: 'GET' | 'POST', url: string): Promise<string> {
  const lines: string[] = [];
  const log: FastifyBaseLogger = createLog('info', { write: line => void lines.push(line) });
  const app = fastify({ loggerInstance: log });
  setDefaultErrors(app);
  app.post('/admin/v1/vouchers/:code/redeem', async () => ({}));
  await app.inject({ method, url, headers: { authorization: 'Bearer secret-of-the-operator' } });
  await app.close();
  return lines.join('');
}

it.each([
  ['POST', `/admin/v1/vouchers/${CODE}/redeem`, '/admin/v1/vouchers/[redacted]/redeem'],
  ['GET', `/admin/v1/vouchers/${CODE}/redeem`, '/admin/v1/vouchers/[redacted]/redeem'],
  ['POST', `/admin/v1/vouchers/${CODE.toLowerCase()}`, '/admin/v1/vouchers/[redacted]'],
  ['POST', `/admin/v1/voucher/${CODE}?code=${CODE}`, '/admin/v1/voucher/[redacted]?code=[redacted]'],
  ['POST', '/admin/v1/vouchers/%41TU-8KQ2-V6ND-3RTM/redeem', '/admin/v1/vouchers/[redacted]/redeem'],
  ['GET', '/healthz?full=1', '/healthz?full=1'],
] as const)('the log of %s %s says %s', async (method, url, shown) => {
  const log = await logOf(method, url);
  expect(log).toContain(`"url":"${shown}"`);
  expect(log).not.toMatch(/8KQ2|secret-of-the-operator/i);
});
