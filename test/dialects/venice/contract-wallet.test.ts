import { type Hex, pad } from 'viem';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { compileContract } from '../../../scripts/compile-contracts.ts';
import { encodeBase64Json } from '../../../src/lib/base64.ts';
import { sleep } from '../../../src/lib/deadline.ts';
import { unavailable } from '../../../src/lib/errors.ts';
import { newId } from '../../../src/lib/ids.ts';
import { localChain, mintUsdc } from '../../support/chain.ts';
import { startGateway, type TestGateway } from '../../support/gateway.ts';
import { paymentHeader, signPayment } from '../../support/payment.ts';
import { SOLANA, solanaHeader, solanaMessage, solanaWallet } from '../../unit/siwx/signed-proof.ts';

const owner = privateKeyToAccount(generatePrivateKey());
const stranger = privateKeyToAccount(generatePrivateKey());
const wallet = privateKeyToAccount(generatePrivateKey()).address;

let gateway: TestGateway;
let isNodeDown = false;
let isNodeSlow = false;
let calls = 0;

beforeAll(async () => {
  gateway = await startGateway({
    seams: {
      evmClient: client => ({
        ...client,
        async call(to, data, options) {
          calls += 1;
          if (isNodeSlow) await sleep(300);
          if (isNodeDown) throw unavailable('the Base node');
          return client.call(to, data, options);
        },
      }),
    },
  });
  const { runtimeBytecode } = JSON.parse(compileContract('TestWallet')) as { runtimeBytecode: Hex };
  await localChain().setCode({ address: wallet, bytecode: runtimeBytecode });
  await localChain().setStorageAt({ address: wallet, index: 0, value: pad(owner.address) });
});

beforeEach(() => {
  isNodeDown = false;
  isNodeSlow = false;
  calls = 0;
});

afterAll(async () => {
  await gateway?.stop();
});

/** A proof of the contract wallet: its owner signs, behind the mark byte that the contract wants. */
async function proof({
  signer = owner,
  mark = '01',
  address = wallet,
  statement = '',
} = {}): Promise<string> {
  const message = [
    `127.0.0.1:4020 wants you to sign in with your Ethereum account:\n${address}\n\n${statement && `${statement}\n`}`,
    `URI: http://127.0.0.1:4020\nVersion: 1\nChain ID: 8453\nNonce: ${newId().replaceAll('-', '')}`,
    `Issued At: ${new Date().toISOString()}`,
  ].join('\n');
  const signature = await signer.signMessage({ message });
  return encodeBase64Json({ address, message, signature: `0x${mark}${signature.slice(2)}`, type: 'eip1271' });
}

const readBalance = (header: string, address = wallet) =>
  gateway.app.inject({ url: `/api/v1/x402/balance/${address}`, headers: { 'sign-in-with-x': header } });

describe('a wallet that is a contract', () => {
  it('signs in and reads what it paid', async () => {
    await mintUsdc(wallet, 20_000_000n);
    const payment = await signPayment(owner, gateway.payTo, 7_000_000n, { from: wallet });
    const signature: Hex = `0x01${payment.signature.slice(2)}`;
    const paid = await gateway.app.inject({
      method: 'POST',
      url: '/api/v1/x402/top-up',
      headers: { 'payment-signature': paymentHeader({ ...payment, signature }) },
    });
    expect(paid.statusCode).toBe(200);

    const header = await proof();
    calls = 0;
    const answer = await readBalance(header);
    expect([answer.statusCode, answer.json().data?.balanceUsd]).toEqual([200, 7]);
    // One question to the node is enough.
    expect(calls).toBe(1);
    expect((await readBalance(header)).statusCode).toBe(401);
  });

  it.each([
    ['somebody else’s signature', () => proof({ signer: stranger })],
    ['what its code refuses', () => proof({ mark: '02' })],
    ['its owner’s plain signature', () => proof({ mark: '' })],
  ])('is not signed in by %s', async (_, header) => {
    const answer = await readBalance(await header());
    expect(answer.statusCode).toBe(401);
    expect(answer.json()).toEqual({ error: 'Invalid Sign-in-with-x signature' });
  });

  it('is told that the node is down, and its proof is good when it is back', async () => {
    const header = await proof();
    isNodeDown = true;
    const refused = await readBalance(header);
    expect(refused.statusCode).toBe(503);
    expect(refused.headers['retry-after']).toBe('2');
    expect(refused.json()).toMatchObject({ error: 'SERVICE_UNAVAILABLE' });
    isNodeDown = false;
    expect((await readBalance(header)).statusCode).toBe(200);
  });

  it('does not let callers ask the node more than a bounded number of questions at once', async () => {
    isNodeSlow = true;
    const headers = await Promise.all(Array.from({ length: 40 }, () => proof({ signer: stranger })));
    const answers = await Promise.all(headers.map(header => readBalance(header)));
    const count = (status: number) => answers.filter(answer => answer.statusCode === status).length;
    expect(calls).toBe(32);
    expect([count(401), count(503)]).toEqual([32, 8]);
  });
});

describe('linking with a wallet that is a contract', () => {
  const SOLANA_WALLET = solanaWallet(77);
  const [contractId, solanaId] = [`eip155:8453:${wallet}`, `${SOLANA}:${SOLANA_WALLET.address}`];

  function solanaProof(statement: string): string {
    const issuedAt = new Date().toISOString();
    const lines = { domain: '127.0.0.1:4020', statement, nonce: newId().replaceAll('-', ''), issuedAt };
    const message = solanaMessage(SOLANA_WALLET, { ...lines, expirationTime: undefined });
    return solanaHeader(SOLANA_WALLET, message);
  }
  const linkWith = (contractProof: string) =>
    gateway.app.inject({
      method: 'POST',
      url: '/wallets/link',
      payload: { proofs: [contractProof, solanaProof(`Link with ${contractId}`)] },
    });

  it('needs the contract’s own agreement, and its node', async () => {
    const statement = `Link with ${solanaId}`;
    const forged = await linkWith(await proof({ signer: stranger, statement }));
    expect([forged.statusCode, forged.json()]).toMatchObject([
      401,
      { details: { reason: 'INVALID_SIGNATURE' } },
    ]);
    const intended = await proof({ statement });
    isNodeDown = true;
    expect((await linkWith(intended)).statusCode).toBe(503);
    isNodeDown = false;
    const linked = await linkWith(intended);
    expect(linked.statusCode).toBe(200);
    expect(linked.json()).toEqual({ wallets: [contractId.toLowerCase(), solanaId] });
    const balance = await gateway.app.inject({
      url: `/api/v1/x402/balance/${SOLANA_WALLET.address}`,
      headers: { 'sign-in-with-x': solanaProof('Sign in') },
    });
    // What the contract wallet paid in the first test.
    expect(balance.json()).toMatchObject({ data: { balanceUsd: 7 } });
  });
});

describe('a wallet with a key', () => {
  it('signs in without a question to the node, also while it is down', async () => {
    isNodeDown = true;
    const header = await proof({ mark: '', address: owner.address });
    expect((await readBalance(header, owner.address)).statusCode).toBe(200);
    expect(calls).toBe(0);
  });

  it('is not signed in by a stranger: an account without code agrees to nothing', async () => {
    const header = await proof({ mark: '', address: owner.address, signer: stranger });
    expect((await readBalance(header, owner.address)).statusCode).toBe(401);
  });
});

describe('a key of Dria', () => {
  it('is had by a contract wallet too', async () => {
    const issuedAt = new Date().toISOString();
    const message = `127.0.0.1 wants wallet ${wallet} to obtain an API key\nIssued At: ${issuedAt}`;
    const signature = `0x01${(await owner.signMessage({ message })).slice(2)}`;
    const register = () =>
      gateway.app.inject({
        method: 'POST',
        url: '/v1/auth/wallet',
        payload: JSON.stringify({ address: wallet, message, signature }),
      });
    isNodeDown = true;
    expect((await register()).statusCode).toBe(503);
    isNodeDown = false;
    const answer = await register();
    expect(answer.statusCode).toBe(200);
    expect(answer.json().api_key).toMatch(/^dkn_live_/);
  });
});
