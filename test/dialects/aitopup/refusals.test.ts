import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildApp } from '../../../src/app.ts';
import { loadConfig } from '../../../src/config/config.ts';
import { createLog } from '../../../src/http/log.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { createServices } from '../../../src/services/services.ts';
import type { TestGateway } from '../../support/gateway.ts';
import { type Call, call, createCaller, send, startAitopupGateway } from './aitopup-gateway.ts';

let gateway: TestGateway;
let key: string;

beforeAll(async () => {
  gateway = await startAitopupGateway();
  key = (await createCaller(gateway)).apiKey;
});

afterAll(() => gateway?.stop());

const good = { platform: 'claude', amount_cents: 1_000 };

/** What is asked, and the HTTP status, code and reason of the answer. */
type Row = [string, string, Call, number, number, string];

const ROUTES: Row[] = [
  ['an unknown path', '/nothing', {}, 404, 3000, 'not_found'],
  ['the prefix itself', '', {}, 404, 3000, 'not_found'],
  ['another method', '/topup/send', { method: 'GET' }, 405, 3000, 'method_not_allowed'],
  ['another method with an id', '/webhooks/wh_1', { method: 'GET' }, 405, 3000, 'method_not_allowed'],
  ['no key', '/topup/balance', {}, 401, 2001, 'unauthorized'],
  ['a key that is none', '/topup/balance', { key: 'ak_live_short' }, 401, 2001, 'unauthorized'],
  ['an unknown key', '/topup/balance', { key: `ak_live_${'x'.repeat(40)}` }, 401, 2001, 'unauthorized'],
  [
    'a key of another dialect',
    '/topup/balance',
    { key: `dkn_live_${'x'.repeat(40)}` },
    401,
    2001,
    'unauthorized',
  ],
];

const BODIES: Row[] = [
  ['malformed JSON', '/topup/send', { payload: '{"platform":' }, 400, 2000, 'malformed_request'],
  ['JSON that is no object', '/topup/send', { payload: '[1]' }, 400, 2000, 'malformed_request'],
  ['no body', '/topup/send', { method: 'POST' }, 400, 2000, 'malformed_request'],
  [
    'another type of body',
    '/topup/send',
    { payload: 'a=1', headers: { 'content-type': 'text/plain' } },
    415,
    2000,
    'malformed_request',
  ],
  [
    'a body that is too large',
    '/topup/send',
    { body: { ...good, pad: 'x'.repeat(70_000) } },
    413,
    2000,
    'payload_too_large',
  ],
  [
    'metadata of the wrong type',
    '/topup/send',
    { body: { ...good, metadata: { a: 1 } } },
    400,
    2000,
    'malformed_request',
  ],
  [
    'a reference of the wrong type',
    '/topup/send',
    { body: { ...good, reference: 7 } },
    400,
    2000,
    'malformed_request',
  ],
  [
    'a reference that is too long',
    '/topup/send',
    { body: { ...good, reference: 'x'.repeat(65) } },
    400,
    2000,
    'malformed_request',
  ],
  ['no platform', '/topup/send', { body: { amount_cents: 1_000 } }, 400, 2003, 'unknown_platform'],
  [
    'an unknown platform',
    '/topup/send',
    { body: { ...good, platform: 'bard' } },
    400,
    2003,
    'unknown_platform',
  ],
  ['no amount', '/topup/send', { body: { platform: 'claude' } }, 400, 2005, 'invalid_amount'],
  [
    'an amount as text',
    '/topup/send',
    { body: { ...good, amount_cents: '1000' } },
    400,
    2005,
    'invalid_amount',
  ],
  [
    'a fraction of a cent',
    '/topup/send',
    { body: { ...good, amount_cents: 1_000.5 } },
    400,
    2005,
    'invalid_amount',
  ],
  ['too little', '/topup/send', { body: { ...good, amount_cents: 99 } }, 400, 2005, 'amount_too_low'],
  ['too much', '/topup/send', { body: { ...good, amount_cents: 50_001 } }, 400, 2005, 'amount_too_high'],
  [
    'an address that is none',
    '/topup/send',
    { body: { ...good, recipient_email: 'dana' } },
    400,
    2004,
    'invalid_email',
  ],
  [
    'an address that is no text',
    '/topup/send',
    { body: { ...good, recipient_email: 7 } },
    400,
    2004,
    'invalid_email',
  ],
  [
    'an empty idempotency key',
    '/topup/send',
    { body: good, headers: { 'idempotency-key': '' } },
    400,
    2000,
    'invalid_idempotency_key',
  ],
  ['an unknown transaction', `/topup/status/txn_${'a'.repeat(20)}`, {}, 404, 3003, 'unknown_transaction'],
  [
    'the cancelling of nothing',
    '/topup/cancel',
    { body: { transaction_id: 'txn_x' } },
    404,
    3003,
    'unknown_transaction',
  ],
  ['a cancelling without a name', '/topup/cancel', { body: {} }, 400, 2000, 'malformed_request'],
  [
    'a threshold as text',
    '/topup/threshold',
    { method: 'PUT', body: { threshold_cents: '1' } },
    400,
    2000,
    'malformed_request',
  ],
  ['a page that is too long', '/topup/history?limit=51', {}, 400, 2000, 'malformed_request'],
  [
    'an unknown event',
    '/webhooks/register',
    { body: { url: 'https://8.8.8.8/', events: ['x'] } },
    400,
    2000,
    'malformed_request',
  ],
  ['an unknown webhook', `/webhooks/wh_${'0'.repeat(32)}`, { method: 'DELETE' }, 404, 3000, 'not_found'],
  ['an unknown delivery', `/webhooks/deliveries/dlv_${'0'.repeat(32)}`, {}, 404, 3000, 'not_found'],
  ['the replay of nothing', '/webhooks/deliveries/dlv_1/replay', { method: 'POST' }, 404, 3000, 'not_found'],
  [
    'a payment for a staging key without its network',
    '/topup/fund',
    { body: { amount_cents: 1_000 } },
    503,
    5000,
    'payments_not_configured',
  ],
];

const NUL = '\0';
const HALF = '\ud800';
const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);
const deep = `{"platform":"claude","amount_cents":1000,"more":${nested(20_000)}}`;

/** What no database keeps, and what ends the stack of whoever reads it. */
const UNSTORABLE: Row[] = [
  ...[NUL, HALF].flatMap((x): Row[] => [
    ['a reference', '/topup/send', { body: { ...good, reference: x } }, 400, 2000, 'malformed_request'],
    ['a value', '/topup/send', { body: { ...good, metadata: { a: x } } }, 400, 2000, 'malformed_request'],
    ['a name', '/topup/send', { body: { ...good, metadata: { [x]: 'a' } } }, 400, 2000, 'malformed_request'],
    [
      'an address',
      '/topup/send',
      { body: { ...good, recipient_email: `a${x}@example.org` } },
      400,
      2004,
      'invalid_email',
    ],
    ['a cancelling', '/topup/cancel', { body: { transaction_id: x } }, 404, 3003, 'unknown_transaction'],
    ['a cancelled reference', '/topup/cancel', { body: { reference: x } }, 400, 2000, 'malformed_request'],
    [
      'a webhook',
      '/webhooks/register',
      { body: { url: `https://8.8.8.8/${x}` } },
      400,
      5002,
      'invalid_webhook_url',
    ],
  ]),
  ['a path', '/topup/status/txn_%00', {}, 404, 3003, 'unknown_transaction'],
  ['a page', '/topup/history?before=%00', {}, 400, 2000, 'malformed_request'],
  ['a page of two names', '/topup/history?before=a&before=b', {}, 400, 2000, 'malformed_request'],
  ['a filter', '/webhooks/deliveries?event=%00', {}, 400, 2000, 'malformed_request'],
  ['another filter', '/webhooks/deliveries?transaction_id=%00', {}, 400, 2000, 'malformed_request'],
  ['a depth', '/topup/send', { payload: deep }, 400, 2000, 'malformed_request'],
  [
    'an address whose small letters are longer',
    '/topup/send',
    { body: { ...good, recipient_email: `${'İ'.repeat(64)}@${'a.'.repeat(93)}org` } },
    400,
    2004,
    'invalid_email',
  ],
];

describe('a refusal is the envelope', () => {
  it.each(ROUTES)('of %s', async (_, path, request, status, code, reason) => {
    const answer = await call(gateway.app, path, request);
    expect(answer).toMatchObject({
      status,
      code,
      success: false,
      state: 'error',
      transaction_id: null,
      data: { reason },
    });
    expect(answer.data['message']).toEqual(expect.any(String));
    if (status === 401) expect(answer.headers['www-authenticate']).toBe('Bearer');
    if (status === 405) expect(answer.headers['allow']).toEqual(expect.any(String));
  });

  it.each([...BODIES, ...UNSTORABLE])('of %s', async (_, path, request, status, code, reason) => {
    const answer = await call(gateway.app, path, { key, ...request });
    expect(answer).toMatchObject({
      status,
      code,
      success: false,
      state: 'error',
      transaction_id: null,
      data: { reason },
    });
  });

  it('of an address that is not on the list of the key', async () => {
    const listed = await createCaller(gateway, { allowedAddresses: ['203.0.113.0/24'] });
    expect(await call(gateway.app, '/topup/balance', { key: listed.apiKey })).toMatchObject({
      status: 403,
      code: 4002,
      success: false,
    });
    const allowed = await createCaller(gateway, { allowedAddresses: ['127.0.0.1'] });
    expect(await call(gateway.app, '/topup/balance', { key: allowed.apiKey })).toMatchObject({
      status: 200,
      code: 1000,
    });
  });

  it('of an address that a trusted balancer names, and not of one that the caller names', async () => {
    const proxied = await startAitopupGateway({
      replicaOf: gateway,
      settings: { TRUST_PROXY: '127.0.0.1/32' },
    });
    const listed = await createCaller(gateway, { allowedAddresses: ['203.0.113.0/24'] });
    const codeFrom = async (app: typeof gateway.app, forwarded: string) =>
      (await call(app, '/topup/balance', { key: listed.apiKey, headers: { 'x-forwarded-for': forwarded } }))
        .code;
    const codes = [
      await codeFrom(proxied.app, '203.0.113.9'),
      await codeFrom(proxied.app, '198.51.100.1'),
      // What the caller wrote itself stands before the address that the balancer saw.
      await codeFrom(proxied.app, '203.0.113.9, 198.51.100.1'),
      await codeFrom(gateway.app, '203.0.113.9'),
    ];
    await proxied.stop();
    expect(codes).toEqual([1000, 4002, 4002, 4002]);
  });

  it('of an amount outside the range that is configured', async () => {
    const ranged = await startAitopupGateway({
      replicaOf: gateway,
      settings: { TOPUP_MIN_CENTS: '500', TOPUP_MAX_CENTS: '700' },
    });
    const answers = [];
    for (const path of ['/topup/send', '/topup/validate']) {
      for (const cents of [499, 500, 700, 701]) {
        const { code, data } = await call(ranged.app, path, { key, body: { ...good, amount_cents: cents } });
        answers.push([code, data['reason']]);
      }
    }
    const { data } = await call(ranged.app, '/topup/send', { key, body: { ...good, amount_cents: 1 } });
    await ranged.stop();
    const range = (done: number) => [
      [2005, 'amount_too_low'],
      [done, undefined],
      [done, undefined],
      [2005, 'amount_too_high'],
    ];
    expect(answers).toEqual([...range(1001), ...range(1000)]);
    expect(data['message']).toContain('from 500 to 700');
  });

  it('of a rate that is too high, with the time to wait', async () => {
    const limited = await startAitopupGateway({ replicaOf: gateway, settings: { RATE_LIMITS: 'on' } });
    const { apiKey } = await createCaller(limited);
    const answers = [];
    // A slow machine fills the bucket while it empties it, so it may take more than twenty.
    for (let n = 0; n < 500 && answers.at(-1)?.code !== 4001; n += 1) {
      answers.push(await call(limited.app, '/topup/balance', { key: apiKey }));
    }
    expect(answers[0]).toMatchObject({
      status: 200,
      headers: { 'x-ratelimit-limit': '60', 'x-ratelimit-remaining': '19' },
    });
    const refused = answers.filter(each => each.code === 4001);
    expect(refused.length).toBeGreaterThanOrEqual(1);
    expect(refused[0]).toMatchObject({
      status: 429,
      headers: { 'retry-after': '1', 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': expect.anything() },
    });
    await limited.stop();
  });

  it('of a database that is down, and tells nothing of it', async () => {
    const config = loadConfig('serve', {
      ...gateway.env,
      DATABASE_URL: 'postgres://127.0.0.1:1/secret-name',
    });
    const log = createLog('silent');
    const services = createServices(config, { log, clock: systemClock });
    const app = await buildApp({ config, services, log, clock: systemClock });
    const answer = await call(app, '/topup/balance', { key });
    expect(answer).toMatchObject({ status: 503, code: 5000, headers: { 'retry-after': expect.anything() } });
    expect(answer.text).not.toContain('secret-name');
    await app.close();
    await services.stop();
  });

  it('of an error that nobody thought of, in fixed words', async () => {
    const services = {
      ...gateway.services,
      sentTopups: {
        ...gateway.services.sentTopups,
        wallet: () => Promise.reject(new Error('secret detail')),
      },
    };
    const log = createLog('silent');
    const app = await buildApp({ config: gateway.config, services, log, clock: systemClock });
    const answer = await call(app, '/topup/balance', { key });
    expect(answer).toMatchObject({
      status: 500,
      code: 5000,
      data: { message: 'internal error', reason: 'internal' },
    });
    expect(answer.text).not.toContain('secret detail');
    await app.close();
  });

  it('comes in the order of the contract', async () => {
    const settings = { RATE_LIMITS: 'on', TRUST_PROXY: '127.0.0.1/32' };
    const limited = await startAitopupGateway({ replicaOf: gateway, settings });
    const listed = await createCaller(gateway, { cents: 100n, allowedAddresses: ['203.0.113.0/24'] });
    const from = (address: string) => ({ 'x-forwarded-for': address });
    const codeOf = async (path: string, request: Call) => (await call(limited.app, path, request)).code;
    // One request that is no JSON, from here and from there, with the key and with another, here and on no route.
    const broken = {
      method: 'POST',
      payload: '{',
      key: listed.apiKey,
      headers: from('203.0.113.9'),
    } as const;
    const codes: number[] = [];
    // A slow machine fills the bucket while it empties it, so it may take more than twenty.
    for (let n = 0; n < 500 && codes.at(-1) !== 4001; n += 1) codes.push(await codeOf('/topup/send', broken));
    expect([...new Set(codes)]).toEqual([2000, 4001]);
    const elsewhere = { ...broken, headers: from('198.51.100.1') };
    expect(await codeOf('/topup/send', elsewhere)).toBe(4002);
    expect(await codeOf('/topup/send', { ...elsewhere, key: 'x' })).toBe(2001);
    expect(await codeOf('/topup/balance', { ...elsewhere, key: 'x' })).toBe(3000);
    expect(await codeOf('/topup/nothing', { ...elsewhere, key: 'x' })).toBe(3000);
    // And one that is wrong in every way that comes later.
    const everything = { platform: 'x', amount_cents: 1, recipient_email: 'x' };
    const sent = (body: object) => codeOf('/topup/send', { key, body });
    expect(await sent({ ...everything, reference: 7 })).toBe(2000);
    expect(await sent(everything)).toBe(2003);
    expect(await sent({ ...everything, platform: 'claude' })).toBe(2005);
    expect(await sent({ ...everything, platform: 'claude', amount_cents: 50_000 })).toBe(2004);
    await limited.stop();
  });

  it('of a repetition comes before that of a wallet without money', async () => {
    const { apiKey } = await createCaller(gateway, { cents: 1_000n });
    const name = { 'idempotency-key': 'once' };
    const body = { reference: 'first', ...good };
    expect((await send(gateway.app, apiKey, body, name)).code).toBe(1001);
    expect((await send(gateway.app, apiKey, body, name)).code).toBe(1001);
    expect((await send(gateway.app, apiKey, { ...body, platform: 'gemini' }, name)).code).toBe(2006);
    expect((await send(gateway.app, apiKey, body)).code).toBe(2006);
    expect((await send(gateway.app, apiKey, { ...body, reference: 'second' })).code).toBe(2002);
  });
});

describe('a webhook’s URL', () => {
  it.each([
    'http://example.org/hook',
    'https://10.0.0.1/',
    'https://169.254.169.254/',
    'https://user@example.org/',
    'https://example.org/#x',
    'ftp://example.org/',
    'nonsense',
    '',
  ])('%s is refused', async url => {
    const answer = await call(gateway.app, '/webhooks/register', { key, body: { url } });
    expect(answer).toMatchObject({ status: 400, code: 5002, success: false, data: { field: 'url' } });
  });

  it.each(['http://127.0.0.1:9/', 'https://127.0.0.1/', 'https://localhost/', 'https://[::1]/'])(
    '%s is refused in production',
    async url => {
      const strict = await startAitopupGateway({
        replicaOf: gateway,
        seams: { allowLoopbackWebhooks: false },
      });
      const answer = await call(strict.app, '/webhooks/register', { key, body: { url } });
      expect(answer).toMatchObject({ code: 5002 });
      await strict.stop();
    },
  );

  it('that takes no test event is refused when it is to be verified', async () => {
    const body = { url: 'http://127.0.0.1:1/', verify: true };
    expect(await call(gateway.app, '/webhooks/register', { key, body })).toMatchObject({
      status: 502,
      code: 5001,
    });
    expect((await call(gateway.app, '/webhooks', { key })).data).toEqual({ webhooks: [], count: 0 });
  });
});
