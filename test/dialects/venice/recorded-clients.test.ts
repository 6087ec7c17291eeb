import { randomBytes } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { mintUsdc, usdcBalance } from '../../support/chain.ts';
import { startGateway, type TestGateway } from '../../support/gateway.ts';
import { paymentJson, signPayment } from '../../support/payment.ts';

/**
 * Two clients that no registry has: the end-to-end harness of venice-mcp-server, and the Python agent of Venice's guide
 * "Giving an Agent a Wallet and a Budget". What they send is written down here as their sources write it: names and
 * order of members, spaces, headers, times.
 */

/** The harness pays this receiver, whatever a server asks for. */
const RECEIVER = '0x2670B922ef37C7Df47158725C0CC407b5382293F';

let gateway: TestGateway;
let api: string;

beforeAll(async () => {
  gateway = await startGateway({ settings: { EVM_PAY_TO: RECEIVER, SIWX_DOMAINS: 'api.venice.ai' } });
  await gateway.app.listen({ host: '127.0.0.1', port: 0 });
  api = `http://127.0.0.1:${(gateway.app.server.address() as AddressInfo).port}`;
});

afterAll(() => gateway?.stop());

let wallet: PrivateKeyAccount;
beforeEach(() => {
  wallet = privateKeyToAccount(generatePrivateKey());
});

const base64 = (text: string) => Buffer.from(text).toString('base64');
const nowSeconds = () => BigInt(Math.floor(Date.now() / 1000));

interface Answer {
  status: number;
  body: Record<string, unknown>;
}

async function send(path: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(`${api}${path}`, init);
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

describe('the harness of venice-mcp-server', () => {
  /** Asks for a challenge without a credential, and signs exactly what it is told. */
  async function proofOf(account: PrivateKeyAccount): Promise<string> {
    const { status, body } = await send(`/api/v1/x402/balance/${account.address}`);
    expect(status).toBe(402);
    const extensions = body['extensions'] as Record<string, { info: Record<string, string> }>;
    const { domain, statement, uri, version, nonce, issuedAt, expirationTime } =
      extensions['sign-in-with-x']?.info ?? expect.unreachable();
    const message = [
      `${domain} wants you to sign in with your Ethereum account:`,
      account.address,
      '',
      statement,
      '',
      `URI: ${uri}`,
      `Version: ${version}`,
      'Chain ID: 8453',
      `Nonce: ${nonce}`,
      `Issued At: ${issuedAt}`,
      `Expiration Time: ${expirationTime}`,
    ].join('\n');
    const signature = await account.signMessage({ message });
    const timestamp = Date.parse(issuedAt ?? '');
    const chainId = 'eip155:8453';
    return base64(JSON.stringify({ address: account.address, message, signature, chainId, timestamp }));
  }

  /** The tool `venice_x402_balance`: the address in lower case, the proof in the older header. */
  const balance = async () =>
    send(`/api/v1/x402/balance/${wallet.address.toLowerCase()}`, {
      headers: { 'X-Sign-In-With-X': await proofOf(wallet) },
    });

  /** Phase `topup`: an authorization of an hour, in the older shape; JSON is announced and no body sent. */
  async function topUp(usd: bigint): Promise<Answer> {
    const signed = await signPayment(wallet, RECEIVER, usd * 1_000_000n, {
      validAfter: 0n,
      validBefore: nowSeconds() + 3_600n,
    });
    const { signature, authorization } = paymentJson(signed);
    const { from, to, value, validAfter, validBefore, nonce } = authorization;
    const payment = {
      x402Version: 2,
      scheme: 'exact',
      network: 'eip155:8453',
      payload: { signature, authorization: { from, to, value, validAfter, validBefore, nonce } },
    };
    return send('/api/v1/x402/top-up', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-402-Payment': base64(JSON.stringify(payment)) },
    });
  }

  it('passes its phases balance and topup', async () => {
    await mintUsdc(wallet.address, 20_000_000n);
    expect(await balance()).toMatchObject({
      status: 200,
      body: { data: { balanceUsd: 0, canConsume: false } },
    });
    expect(await topUp(5n)).toMatchObject({
      status: 200,
      body: { success: true, data: { walletAddress: wallet.address.toLowerCase(), amountCredited: 5 } },
    });
    expect(await balance()).toMatchObject({
      status: 200,
      body: { data: { balanceUsd: 5, canConsume: true } },
    });
    expect(await usdcBalance(wallet.address)).toBe(15_000_000n);
  });

  it('is told the price when it asks how to top up, whatever it says about itself', async () => {
    const list = await send('/api/v1/x402/top-up', { method: 'POST' });
    expect(list).toMatchObject({ status: 402, body: { accepts: [{ payTo: RECEIVER.toLowerCase() }] } });
    const body = JSON.stringify({ walletAddress: wallet.address, amountUsd: 10 });
    for (const credential of [
      {},
      { Authorization: 'Bearer vapi_key' },
      { 'X-Sign-In-With-X': await proofOf(wallet) },
    ]) {
      const headers = { 'Content-Type': 'application/json', ...credential } as Record<string, string>;
      expect(await send('/api/v1/x402/top-up', { method: 'POST', headers, body })).toEqual(list);
      expect(await send('/api/v1/x402/top-up', { method: 'POST', headers })).toEqual(list);
    }
  });
});

describe('the Python agent of Venice’s guide', () => {
  /** As Python's json.dumps writes: spaces behind commas and colons. */
  const dumps = (fields: Record<string, string | number>) =>
    `{${Object.entries(fields)
      .map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`)
      .join(', ')}}`;

  /** Always signs for Venice's own domain, with its own nonce, four minutes long and without a timestamp. */
  async function siwxHeader(): Promise<string> {
    const issuedAt = new Date().toISOString();
    const expiresAt = new Date(Date.parse(issuedAt) + 240_000).toISOString();
    const nonce = randomBytes(8).toString('hex');
    const message =
      `api.venice.ai wants you to sign in with your Ethereum account:\n${wallet.address}\n\nSign in to Venice AI\n\n` +
      `URI: https://api.venice.ai\nVersion: 1\nChain ID: 8453\n` +
      `Nonce: ${nonce}\nIssued At: ${issuedAt}\nExpiration Time: ${expiresAt}`;
    const signature = await wallet.signMessage({ message });
    return base64(dumps({ address: wallet.address, message, signature, chainId: 8453 }));
  }

  async function walletGet(path: string, header?: string): Promise<Answer> {
    return send(path, { headers: { 'SIGN-IN-WITH-X': header ?? (await siwxHeader()) } });
  }
  const balance = async () => (await walletGet(`/api/v1/x402/balance/${wallet.address}`)).body['data'];

  interface Rail {
    network: string;
    amount: string;
    payTo: `0x${string}`;
    maxTimeoutSeconds: number;
  }

  /** Reads the rails from the body, and pays exactly what the first EVM rail asks for, in version 2. */
  async function topUp(): Promise<Answer> {
    const discovery = await send('/api/v1/x402/top-up', { method: 'POST' });
    const accepts = discovery.body['accepts'] as Rail[];
    const accepted = accepts.find(({ network }) => network.startsWith('eip155')) ?? expect.unreachable();
    const signed = await signPayment(wallet, accepted.payTo, BigInt(accepted.amount), {
      validAfter: 0n,
      validBefore: nowSeconds() + BigInt(accepted.maxTimeoutSeconds),
    });
    const { authorization, signature } = paymentJson(signed);
    const payment = { x402Version: 2, payload: { authorization, signature }, accepted };
    return send('/api/v1/x402/top-up', {
      method: 'POST',
      headers: { 'PAYMENT-SIGNATURE': base64(JSON.stringify(payment)) },
    });
  }

  it('reads its balance, tops up and reads its charges', async () => {
    const empty = { balanceUsd: 0, canConsume: false, minimumTopUpUsd: 5, suggestedTopUpUsd: 10 };
    expect(await balance()).toEqual({ walletAddress: wallet.address.toLowerCase(), ...empty });
    // A wallet without a dollar is told so in the words of the guide.
    expect(await topUp()).toMatchObject({ status: 400, body: { error: 'PAYMENT_VERIFICATION_FAILED' } });
    await mintUsdc(wallet.address, 5_000_000n);
    expect(await topUp()).toMatchObject({ status: 200, body: { success: true, data: { newBalance: 5 } } });
    expect(await balance()).toMatchObject({ balanceUsd: 5, canConsume: true });
    const ledger = await walletGet(`/api/v1/x402/transactions/${wallet.address}?limit=100`);
    const { transactions } = ledger.body['data'] as { transactions: { type: string }[] };
    expect(transactions.map(({ type }) => type)).toEqual(['TOP_UP']);
    expect(await usdcBalance(wallet.address)).toBe(0n);
  });

  it('signs anew for each request, because a proof is good once', async () => {
    const header = await siwxHeader();
    const path = `/api/v1/x402/balance/${wallet.address}`;
    expect((await walletGet(path, header)).status).toBe(200);
    expect((await walletGet(path, header)).status).toBe(401);
  });
});
