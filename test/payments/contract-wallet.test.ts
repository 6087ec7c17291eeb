import { type Hex, pad } from 'viem';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compileContract } from '../../scripts/compile-contracts.ts';
import { unavailable } from '../../src/lib/errors.ts';
import { localChain, mintUsdc, usdcBalance } from '../support/chain.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { paymentHeader, type SignedPayment, signPayment } from '../support/payment.ts';

const faults = { code: false };
const owner = privateKeyToAccount(generatePrivateKey());
const wallet = privateKeyToAccount(generatePrivateKey()).address;
let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startGateway({
    seams: {
      evmClient: client => ({
        ...client,
        code: address => (faults.code ? Promise.reject(unavailable('the Base node')) : client.code(address)),
      }),
    },
  });
  await mintUsdc(wallet, 100_000_000n);
  const { runtimeBytecode } = JSON.parse(compileContract('TestWallet')) as { runtimeBytecode: Hex };
  await localChain().setCode({ address: wallet, bytecode: runtimeBytecode });
  await localChain().setStorageAt({ address: wallet, index: 0, value: pad(owner.address) });
});

afterAll(async () => {
  await gateway.stop();
});

/** The owner signs for the wallet; the wallet wants a mark byte in front. */
async function signForWallet(signer = owner): Promise<SignedPayment> {
  const payment = await signPayment(signer, gateway.payTo, 10_000_000n, { from: wallet });
  return { ...payment, signature: `0x01${payment.signature.slice(2)}` };
}

function pay(payment: SignedPayment) {
  return gateway.app.inject({
    method: 'POST',
    url: '/api/v1/x402/top-up',
    headers: { 'payment-signature': paymentHeader(payment) },
  });
}

describe('a wallet that is a contract', () => {
  it('pays, and gets the stored answer when it presents the payment again', async () => {
    const payment = await signForWallet();
    const answer = await pay(payment);
    expect(answer.statusCode).toBe(200);
    expect(answer.json().data).toMatchObject({ walletAddress: wallet.toLowerCase(), amountCredited: 10 });
    expect(await usdcBalance(wallet)).toBe(90_000_000n);
    expect((await pay(payment)).json()).toEqual(answer.json());
  });

  it('is refused with a signature that the contract does not accept', async () => {
    const stranger = privateKeyToAccount(generatePrivateKey());
    const answer = await pay(await signForWallet(stranger));
    expect(answer.statusCode).toBe(400);
    expect(answer.json().details).toEqual({ reason: 'invalid_exact_evm_signature' });
  });

  it('is refused with the plain signature of its owner, as the token would', async () => {
    const answer = await pay(await signPayment(owner, gateway.payTo, 10_000_000n, { from: wallet }));
    expect(answer.statusCode).toBe(400);
    expect(answer.json().details).toEqual({ reason: 'invalid_exact_evm_signature' });
  });

  it('is told that the node is down, not that its signature is bad', async () => {
    const payment = await signForWallet();
    faults.code = true;
    const answer = await pay(payment);
    faults.code = false;
    expect([answer.statusCode, answer.json().error]).toEqual([503, 'SERVICE_UNAVAILABLE']);
    expect(await usdcBalance(wallet)).toBe(90_000_000n);
  });
});
