import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startGateway, type TestGateway } from '../support/gateway.ts';

let gateway: TestGateway;
let closed: TestGateway;

beforeAll(async () => {
  gateway = await startGateway();
  closed = await startGateway({ settings: { ADMIN_API_KEY: '' } });
});

afterAll(async () => {
  await gateway?.stop();
  await closed?.stop();
});

function get(authorization: string | undefined, on = gateway) {
  return on.app.inject({ url: '/admin/v1/nothing', headers: authorization ? { authorization } : {} });
}

describe('the operator’s API', () => {
  it('tells nothing without the key', async () => {
    const key = gateway.config.adminApiKey;
    for (const presented of [undefined, key, 'Bearer ', `Bearer ${key}x`, `Bearer ${key.slice(1)}`]) {
      const answer = await get(presented);
      expect(answer.statusCode).toBe(401);
      expect(answer.json()).toMatchObject({ error: 'unauthorized' });
      expect(answer.body).not.toContain(key);
    }
  });

  it('answers who knows the key', async () => {
    const answer = await get(`Bearer ${gateway.config.adminApiKey}`);
    expect(answer.statusCode).toBe(404);
    expect(answer.json()).toMatchObject({ error: 'not_found' });
  });

  it('does not exist where no key is set', async () => {
    const answer = await get('Bearer ', closed);
    expect(answer.statusCode).toBe(404);
  });
});
