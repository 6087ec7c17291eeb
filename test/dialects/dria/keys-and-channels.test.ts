import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KEY_MEMORY_MS } from '../../../src/accounts/api-key-check.ts';
import { hashApiKey } from '../../../src/customers/api-key-format.ts';
import { revokeApiKey } from '../../../src/customers/api-keys.ts';
import { deleteOldMessages, insertMessage } from '../../../src/customers/channel-messages.ts';
import { createCustomer, resolveWallet } from '../../../src/customers/customers.ts';
import { encodeBase64Json } from '../../../src/lib/base64.ts';
import { sleep } from '../../../src/lib/deadline.ts';
import { newId } from '../../../src/lib/ids.ts';
import { startGateway, type TestGateway } from '../../support/gateway.ts';
import { createPayer, paymentHeader, signPayment } from '../../support/payment.ts';
import { HOST, signIn } from '../../support/sign-in.ts';
import { balanceOf, createKey } from './dria-gateway.ts';

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startGateway();
});

afterAll(async () => {
  await gateway?.stop();
});

async function registration(account: PrivateKeyAccount, changes: { nonce?: string; host?: string } = {}) {
  const { nonce = newId(), host = HOST } = changes;
  const issuedAt = new Date().toISOString();
  const message = `${host} wants wallet ${account.address} to obtain an API key\nIssued At: ${issuedAt}\nNonce: ${nonce}`;
  return { address: account.address, message, signature: await account.signMessage({ message }) };
}

const register = (body: object) =>
  gateway.app.inject({ method: 'POST', url: '/v1/auth/wallet', payload: JSON.stringify(body) });

describe('a registered wallet', () => {
  it('spends with its key what it bought in another dialect', async () => {
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, gateway.payTo, 12_000_000n);
    const bought = await gateway.app.inject({
      method: 'POST',
      url: '/api/v1/x402/top-up',
      headers: { 'payment-signature': paymentHeader(payment) },
    });
    expect(bought.statusCode).toBe(200);

    const answer = await register(await registration(payer));
    expect(answer.statusCode).toBe(200);
    const { api_key: key } = answer.json();
    expect(key).toMatch(/^dkn_live_[A-Za-z0-9]{40}$/);
    expect(answer.json()).toEqual({ api_key: key, apiKey: key, address: payer.address.toLowerCase() });
    expect(await balanceOf(gateway.app, key)).toEqual({ balance: 1200, balance_usdc: '12.00' });

    const second = (await register(await registration(payer))).json().api_key;
    expect(second).not.toBe(key);
    for (const each of [key, second]) {
      expect(await balanceOf(gateway.app, each)).toEqual({ balance: 1200, balance_usdc: '12.00' });
    }
  });

  it('gets one key for one text, whoever repeats it', async () => {
    const account = privateKeyToAccount(generatePrivateKey());
    const body = await registration(account);
    const answers = await Promise.all(Array.from({ length: 10 }, () => register(body)));
    expect(answers.filter(answer => answer.statusCode === 200)).toHaveLength(1);
    for (const answer of answers.filter(each => each.statusCode !== 200)) {
      expect(answer.statusCode).toBe(401);
      expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8');
    }
  });

  it('must sign for this host, itself', async () => {
    const account = privateKeyToAccount(generatePrivateKey());
    const stranger = privateKeyToAccount(generatePrivateKey());
    const good = await registration(account);
    const foreign = await registration(account, { host: 'evil.example' });
    for (const body of [foreign, { ...good, address: stranger.address }]) {
      expect((await register(body)).statusCode).toBe(401);
    }
    expect((await register({ ...good, address: account.address.toLowerCase() })).statusCode).toBe(200);
  });

  it('has no key for what was signed to sign in or to link wallets, used or not', async () => {
    const account = privateKeyToAccount(generatePrivateKey());
    const url = `/api/v1/x402/balance/${account.address}`;
    for (const statement of ['Sign in to Venice AI', `Link with eip155:8453:${account.address}`]) {
      const signed = await signIn(account, statement);
      const fresh = await register(signed);
      expect([fresh.statusCode, fresh.headers['content-type']]).toEqual([401, 'text/plain; charset=utf-8']);
      const headers = { 'sign-in-with-x': encodeBase64Json(signed) };
      expect((await gateway.app.inject({ url, headers })).statusCode).toBe(200);
      expect((await register(signed)).statusCode).toBe(401);
    }
    const { rows } = await gateway.sql.query(
      `SELECT 1 FROM directory.api_key k JOIN directory.customer_identity i USING (customer_id)
       WHERE i.value = $1`,
      [`eip155:8453:${account.address.toLowerCase()}`],
    );
    expect(rows).toEqual([]);
  });

  it('gets no test key where no test network is served', async () => {
    const account = privateKeyToAccount(generatePrivateKey());
    const answer = await register({ ...(await registration(account)), environment: 'test' });
    expect(answer.statusCode).toBe(400);
  });
});

describe('a key that is revoked', () => {
  it('is refused by every gateway of one database within a second', async () => {
    expect(KEY_MEMORY_MS).toBeLessThanOrEqual(1_000);
    const replica = await startGateway({ replicaOf: gateway });
    try {
      const [key, other] = await Promise.all([createKey(gateway), createKey(gateway)]);
      const status = async ({ app }: TestGateway, apiKey: string) => {
        const headers = { authorization: `Bearer ${apiKey}` };
        return (await app.inject({ url: '/v1/credits/balance', headers })).statusCode;
      };
      // Both remember the key now.
      expect([await status(gateway, key), await status(replica, key)]).toEqual([200, 200]);
      const { rows } = await gateway.sql.query<{ key_id: string; customer_id: string }>(
        'SELECT key_id, customer_id FROM directory.api_key WHERE key_hash = $1',
        [hashApiKey('dria', key)],
      );
      const [{ key_id: keyId, customer_id: customerId } = expect.unreachable()] = rows;
      expect(await revokeApiKey(gateway.sql, { keyId, customerId })).toBe(true);
      // Whatever was remembered was asked for before: once this time is over the very next request is refused.
      const revokedAtMs = performance.now();
      await sleep(KEY_MEMORY_MS);
      while (performance.now() - revokedAtMs < KEY_MEMORY_MS) await sleep(1);
      for (const each of [gateway, replica]) {
        expect([await status(each, key), await status(each, other)]).toEqual([401, 200]);
      }
    } finally {
      await replica.stop();
    }
  });
});

describe('a key that is bound to addresses', () => {
  it('is an unknown key from everywhere else: a stolen one does not tell that it is good', async () => {
    const { apiKey } = await gateway.services.createFundedKey({
      dialect: 'dria',
      environment: 'live',
      allowedAddresses: ['203.0.113.0/24', '2001:db8::1'],
    });
    const call = (method: 'GET' | 'POST', url: string, key: string, remoteAddress: string) =>
      gateway.app.inject({
        method,
        url,
        headers: { authorization: `Bearer ${key}` },
        remoteAddress,
        ...(method === 'POST' && { payload: JSON.stringify({ amount: '10' }) }),
      });
    const unknownKey = `dkn_live_${'Zz9'.repeat(13)}Q`;
    for (const [method, url, allowed] of [
      ['GET', '/v1/credits/balance', 200],
      ['GET', '/v1/models', 200],
      ['POST', '/v1/credits/topup', 402],
    ] as const) {
      for (const address of ['203.0.113.200', '::ffff:203.0.113.200', '2001:db8::1']) {
        expect((await call(method, url, apiKey, address)).statusCode).toBe(allowed);
      }
      const refused = await call(method, url, apiKey, '198.51.100.1');
      const unknown = await call(method, url, unknownKey, '198.51.100.1');
      expect([refused.statusCode, refused.body]).toEqual([401, 'invalid or missing API key']);
      expect(refused.headers['content-type']).toBe('text/plain; charset=utf-8');
      const told = ({ headers }: typeof refused) => ({ ...headers, date: undefined });
      expect([refused.body, told(refused)]).toEqual([unknown.body, told(unknown)]);
    }
  });
});

describe('a gateway whose database is replaced while it is paused', () => {
  it('remembers no key and no wallet of before', async () => {
    const key = await createKey(gateway);
    const account = privateKeyToAccount(generatePrivateKey());
    const address = account.address.toLowerCase();
    const wallet = { environment: 'live', network: 'eip155:8453', address } as const;
    const { customerId } = await resolveWallet(gateway.sql, wallet);
    expect(await balanceOf(gateway.app, key)).toMatchObject({ balance: 0 });
    await gateway.services.accounts.walletBalance(wallet.network, address);
    const linked = await createKey(gateway, { balanceNanoUsd: 5_000_000_000n });
    await gateway.services.whilePaused(async () => {
      await gateway.sql.query('UPDATE directory.api_key SET revoked_at = now() WHERE key_hash = $1', [
        hashApiKey('dria', key),
      ]);
      await gateway.sql.query(
        `UPDATE directory.customer_identity SET customer_id =
           (SELECT customer_id FROM directory.api_key WHERE key_hash = $2) WHERE customer_id = $1`,
        [customerId, hashApiKey('dria', linked)],
      );
    });
    const headers = { authorization: `Bearer ${key}` };
    expect((await gateway.app.inject({ url: '/v1/credits/balance', headers })).statusCode).toBe(401);
    expect(await gateway.services.accounts.walletBalance(wallet.network, address)).toEqual({
      availableNanoUsd: 5_000_000_000n,
    });
  });
});

describe('a channel', () => {
  const call = (key: string, query: string) =>
    gateway.app.inject({ url: `/v1/channel?${query}`, headers: { authorization: `Bearer ${key}` } });

  it('keeps what is posted, apart by channel and environment, and is read newest first', async () => {
    const [key, testKey] = await Promise.all([
      createKey(gateway),
      createKey(gateway, { environment: 'test' }),
    ]);
    const post = async (apiKey: string, content: string, channel = 'general') => {
      const answer = await gateway.app.inject({
        method: 'POST',
        url: '/v1/channel',
        headers: { authorization: `Bearer ${apiKey}` },
        payload: JSON.stringify({ channel, content }),
      });
      expect(answer.statusCode).toBe(200);
      return answer.json();
    };
    const first = await post(key, "first'; DROP TABLE channel_message; --");
    expect(first).toMatchObject({ authorType: 'api', authorName: `user-${first.author.slice(-8)}` });
    await expect.poll(() => new Date().toISOString()).not.toBe(first.createdAt);
    const second = await post(key, 'second');
    const request = await post(key, 'a request', 'requests');
    const test = await post(testKey, 'a test');

    expect((await call(key, 'channel=general')).json()).toEqual({ messages: [second, first] });
    expect((await call(key, 'channel=general&limit=1')).json()).toEqual({ messages: [second] });
    expect((await call(key, `channel=general&before=${second.createdAt}`)).json()).toEqual({
      messages: [first],
    });
    expect((await call(key, `channel=general&after=${first.createdAt}`)).json()).toEqual({
      messages: [second],
    });
    expect((await call(key, 'channel=requests')).json()).toEqual({ messages: [request] });
    expect((await call(testKey, 'channel=general')).json()).toEqual({ messages: [test] });
  });

  it('forgets all but its newest messages', async () => {
    const { customerId } = await createCustomer(gateway.sql, 'test');
    const page = { environment: 'test', channel: 'requests' } as const;
    for (let n = 0; n < 5; n += 1) {
      const createdAt = new Date(Date.UTC(2026, 0, 1) + n);
      const id = newId();
      const text = { authorName: 'a', avatarUrl: undefined, content: String(n) };
      await insertMessage(gateway.sql, { ...page, id, author: customerId, createdAt, ...text });
    }
    expect(await deleteOldMessages(gateway.sql, { ...page, keep: 3, limit: 1 })).toBe(1);
    expect(await deleteOldMessages(gateway.sql, { ...page, keep: 3, limit: 10 })).toBe(1);
    expect(await deleteOldMessages(gateway.sql, { ...page, keep: 3, limit: 10 })).toBe(0);
    const key = await createKey(gateway, { environment: 'test' });
    const left = (await call(key, 'channel=requests')).json().messages;
    expect(left.map((message: { content: string }) => message.content)).toEqual(['4', '3', '2']);
  });
});
