import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_CELL } from '../../../src/db/queryable.ts';
import { forgetExpiredTokens } from '../../../src/subscriptions/api-token-store.ts';
import { startGateway } from '../../support/gateway.ts';
import { createPayer } from '../../support/payment.ts';
import { type MobulaGateway, movableClock, pay, subscribe } from './mobula-gateway.ts';

const clock = movableClock();
let gateway: MobulaGateway;
let payer: Awaited<ReturnType<typeof createPayer>>;
let apiKey: string;
let agentId: string;

beforeAll(async () => {
  gateway = { ...(await startGateway({ clock })), clock };
  payer = await createPayer();
  ({ apiKey, agentId } = await subscribe(gateway, payer));
});
afterAll(async () => {
  await gateway?.stop();
});

interface Call {
  body?: unknown;
  key?: string;
  headers?: Record<string, string>;
  on?: MobulaGateway;
}

async function call(method: 'GET' | 'POST' | 'DELETE', route: string, options: Call = {}) {
  const { body, key = apiKey, headers = { authorization: key }, on = gateway } = options;
  const response = await on.app.inject({
    method,
    url: `/api/2/auth${route}`,
    headers,
    ...(body === undefined ? {} : { payload: body as object }),
  });
  return { status: response.statusCode, body: response.json(), headers: response.headers };
}

interface MadeToken {
  id: string;
  token: string;
  expiresTimeString: string;
  requestLimit: string;
  remaining: string;
}

async function make(body: object, options: Call = {}): Promise<MadeToken[]> {
  const answer = await call('POST', '/tokens', { ...options, body });
  expect(answer.status).toBe(200);
  return answer.body.createApiTokens as MadeToken[];
}

async function makeOne(body: object, options: Call = {}): Promise<MadeToken> {
  const [made] = await make(body, options);
  return made ?? expect.unreachable();
}

async function verify(presented: string) {
  const response = await gateway.app.inject({
    method: 'POST',
    url: '/admin/v1/keys/verify',
    headers: { authorization: `Bearer ${gateway.config.adminApiKey}` },
    payload: { apiKey: presented },
  });
  return response.json<Record<string, unknown>>();
}

describe('making tokens', () => {
  it('makes JWTs with an end and a number of requests', async () => {
    const [made, ...others] = await make({ expiresIn: 60_000, count: 3, requestLimit: '7' });
    expect(others).toHaveLength(2);
    expect(made).toMatchObject({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      token: expect.stringMatching(/^eyJ[\w-]+\.[\w-]+\.[\w-]+$/),
      requestLimit: '7',
      remaining: '7',
    });
    const left = Date.parse(made?.expiresTimeString ?? '') - clock.nowMs();
    expect(left).toBeGreaterThan(50_000);
    expect(left).toBeLessThanOrEqual(60_000);
    expect(await make({ count: 1 })).toMatchObject([{ requestLimit: '5000' }]);
  });

  it.each([
    ['nothing', {}],
    ['something else', { lifetime: 5 }],
    ['no object', []],
    ['too short a life', { expiresIn: 59_999 }],
    ['too long a life', { expiresIn: 86_400_001 }],
    ['half a millisecond', { expiresIn: 60_000.5 }],
    ['a life in words', { expiresIn: '60000' }],
    ['none', { count: 0 }],
    ['too many', { count: 26 }],
    ['no requests', { requestLimit: '0' }],
    ['too many requests', { requestLimit: '1000001' }],
    ['a number for a text', { requestLimit: 1000 }],
    ['part of a request', { requestLimit: '1.5' }],
  ])('refuses %s', async (_, body) => {
    expect(await call('POST', '/tokens', { body })).toMatchObject({
      status: 400,
      body: { error: 'malformed_request' },
    });
  });

  it('takes the key raw, with Bearer and in x-api-key, and nobody without one', async () => {
    const all = [{ authorization: apiKey }, { authorization: `Bearer ${apiKey}` }, { 'x-api-key': apiKey }];
    for (const headers of all) {
      expect(await call('POST', '/tokens', { headers, body: { count: 1 } })).toMatchObject({ status: 200 });
      expect(await call('GET', '/tokens', { headers })).toMatchObject({ status: 200 });
    }
    const none = [{}, { authorization: 'Bearer ' }, { 'x-api-key': `mbl_${'x'.repeat(40)}` }];
    for (const headers of none) {
      expect(await call('POST', '/tokens', { headers, body: {} })).toMatchObject({
        status: 401,
        body: { error: 'unauthorized' },
      });
    }
  });

  it('is refused to tokens themselves', async () => {
    const { token } = await makeOne({ count: 1 });
    for (const headers of [{ authorization: `Bearer ${token}` }, { 'x-api-key': token }]) {
      expect(await call('POST', '/tokens', { headers, body: { count: 1 } })).toMatchObject({ status: 401 });
    }
  });

  it('needs an active plan; what was made can be looked at and revoked without', async () => {
    const poor = await createPayer();
    const agent = await subscribe(gateway, poor);
    const made = await makeOne({ expiresIn: 86_400_000 }, { key: agent.apiKey });
    clock.forwardDays(29.9);
    const late = await makeOne({ expiresIn: 86_400_000 }, { key: agent.apiKey });
    clock.forwardDays(0.2);
    expect(await call('POST', '/tokens', { key: agent.apiKey, body: { count: 1 } })).toMatchObject({
      status: 403,
      body: { error: 'forbidden' },
    });
    const listed = await call('GET', '/tokens', { key: agent.apiKey });
    expect(listed.body.apiTokens).toMatchObject([{ id: late.id }]);
    expect(listed.body.apiTokens).not.toMatchObject([{ id: made.id }]);
    expect(await call('DELETE', `/tokens/${late.id}`, { key: agent.apiKey })).toMatchObject({ status: 200 });
    ({ apiKey, agentId } = await subscribe(gateway, payer));
  });

  it('is limited to five calls a minute of one key', async () => {
    const limited = {
      ...(await startGateway({ replicaOf: gateway, clock, settings: { RATE_LIMITS: 'on' } })),
      clock,
    };
    const statuses: number[] = [];
    for (let round = 0; round < 6; round += 1) {
      statuses.push((await call('POST', '/tokens', { body: { count: 1 }, on: limited })).status);
    }
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
    expect((await call('GET', '/tokens', { on: limited })).status).toBe(200);
    const other = await createPayer();
    const second = await subscribe(gateway, other);
    const answer = await call('POST', '/tokens', { body: { count: 1 }, on: limited, key: second.apiKey });
    expect(answer.status).toBe(200);
    await limited.stop();
  });
});

describe('tokens of a key', () => {
  it('are listed without the token itself, looked up by it, and revoked by their id', async () => {
    const agent = await subscribe(gateway, await createPayer());
    const key = agent.apiKey;
    const [first, second] = await make({ count: 2, requestLimit: '3' }, { key });
    if (!first || !second) expect.unreachable();
    const listed = await call('GET', '/tokens', { key });
    const { token: _, ...shown } = first;
    expect(listed.body).toEqual({ apiTokens: expect.arrayContaining([shown]) });
    expect(JSON.stringify(listed.body)).not.toContain(first.token);
    expect(await call('GET', `/token?token=${first.token}`, { key })).toMatchObject({
      status: 200,
      body: { apiToken: shown },
    });
    expect(await call('DELETE', `/tokens/${first.id.toUpperCase()}`, { key })).toMatchObject({
      status: 200,
      body: { deleteApiToken: first.id },
    });
    expect(await call('DELETE', `/tokens/${first.id}`, { key })).toMatchObject({ status: 404 });
    expect(await call('GET', `/token?token=${first.token}`, { key })).toMatchObject({ status: 404 });
    expect((await call('GET', '/tokens', { key })).body.apiTokens).toMatchObject([{ id: second.id }]);
    expect(await call('GET', '/token', { key })).toMatchObject({ status: 400 });
    expect(await call('DELETE', '/tokens/1', { key })).toMatchObject({ status: 400 });
  });

  it('are nobody else’s', async () => {
    const { id, token } = await makeOne({ count: 1 });
    const { apiKey: other } = await subscribe(gateway, await createPayer());
    const { body } = await pay(gateway, payer, '/api-keys/create');
    for (const key of [other, String(body['api_key'])]) {
      expect(await call('GET', `/token?token=${token}`, { key })).toMatchObject({ status: 404 });
      expect(await call('DELETE', `/tokens/${id}`, { key })).toMatchObject({ status: 404 });
      expect(JSON.stringify((await call('GET', '/tokens', { key })).body)).not.toContain(id);
    }
  });
});

describe('the check of a token for backends', () => {
  it('counts each request down, and tells when there is none left', async () => {
    const { id, token } = await makeOne({ requestLimit: '2' });
    expect(await verify(`Bearer ${token}`)).toMatchObject({
      valid: true,
      userId: agentId,
      plan: 'startup',
      planActive: true,
      token: { id, requestLimit: 2, remaining: 1 },
    });
    expect(await verify(`bearer  ${token}`)).toMatchObject({ valid: true, token: { remaining: 0 } });
    expect(await verify(`Bearer ${token}`)).toEqual({ valid: false, reason: 'request_limit_reached' });
    expect((await verify(apiKey))['token']).toBeNull();
  });

  it('never lets calls at once have more than the limit, on two replicas', async () => {
    const replica = await startGateway({ replicaOf: gateway, clock });
    const { token } = await makeOne({ requestLimit: '10' });
    const verdicts = await Promise.all(
      Array.from({ length: 30 }, (_, n) =>
        (n % 2 ? gateway : replica).services.keyVerification.verify(`Bearer ${token}`, undefined),
      ),
    );
    expect(verdicts.filter(verdict => verdict?.kind === 'valid')).toHaveLength(10);
    expect(verdicts.filter(verdict => verdict?.kind === 'exhausted')).toHaveLength(20);
    await replica.stop();
  });

  it('takes a token with Bearer alone', async () => {
    const { token } = await makeOne({ count: 1 });
    expect(await verify(token)).toEqual({ valid: false });
    expect(await verify(`Basic ${token}`)).toEqual({ valid: false });
  });

  it('refuses what was revoked, has ended, or whose key was revoked', async () => {
    const agent = await createPayer();
    const { apiKey: key } = await subscribe(gateway, agent);
    const [revoked, ended, orphan] = [
      await makeOne({ count: 1 }, { key }),
      await makeOne({ expiresIn: 60_000 }, { key }),
      await makeOne({ expiresIn: 86_400_000 }, { key }),
    ];
    await call('DELETE', `/tokens/${revoked.id}`, { key });
    expect(await verify(`Bearer ${revoked.token}`)).toEqual({ valid: false });
    clock.forwardDays(61 / 86_400);
    expect(await verify(`Bearer ${ended.token}`)).toEqual({ valid: false });
    expect(await verify(`Bearer ${orphan.token}`)).toMatchObject({ valid: true });
    await pay(gateway, agent, `/api-keys/revoke?api_key=${key}`);
    expect(await verify(`Bearer ${orphan.token}`)).toEqual({ valid: false });
  });

  it('refuses what was not signed here', async () => {
    const { token } = await makeOne({ count: 1 });
    const [header = '', claims = '', signature = ''] = token.split('.');
    const none = Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url');
    const foreign = createHmac('sha256', 'another secret').update(`${header}.${claims}`).digest('base64url');
    const later = JSON.parse(Buffer.from(claims, 'base64url').toString()) as { exp: number };
    const altered = Buffer.from(JSON.stringify({ ...later, exp: later.exp + 60 })).toString('base64url');
    const forgeries = [
      `${none}.${claims}.`,
      `${none}.${claims}.${signature}`,
      `${header}.${claims}.${foreign}`,
      `${header}.${altered}.${signature}`,
      `${header}.${claims}`,
      `${header}.${claims}.`,
    ];
    for (const forgery of forgeries) expect(await verify(`Bearer ${forgery}`)).toEqual({ valid: false });
    expect(await verify(`Bearer ${token}`)).toMatchObject({ valid: true });
  });
});

describe('tokens that have ended', () => {
  it('are deleted', async () => {
    await make({ count: 25, expiresIn: 60_000 });
    clock.forwardDays(2);
    const now = new Date(clock.nowMs());
    const kept = await makeOne({ count: 1 });
    await forgetExpiredTokens(gateway.sql, DEFAULT_CELL, now);
    const { rows } = await gateway.sql.query<{ token_id: string; ended: boolean }>(
      'SELECT token_id, expires_at <= $1 AS ended FROM cell_0.api_token',
      [now],
    );
    expect(rows.some(({ ended }) => ended)).toBe(false);
    expect(rows.map(row => row.token_id)).toContain(kept.id);
  });
});
