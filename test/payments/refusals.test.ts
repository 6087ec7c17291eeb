import type { AddressInfo } from 'node:net';
import { encodeFunctionData, parseAbi } from 'viem';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import { transferCallData } from '../../src/lib/eip3009.ts';
import { localChain, sendAsPayer, usdcBalance } from '../support/chain.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { sendByStranger } from '../support/interrupted-payment.ts';
import {
  BASE_USDC,
  createPayer,
  paymentHeader,
  paymentJson,
  type SignedPayment,
  signPayment,
} from '../support/payment.ts';
import { presentPayment } from '../support/solana-gateway.ts';

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startGateway();
});

afterAll(async () => {
  await gateway.stop();
});

function present(header: string, name = 'payment-signature') {
  return gateway.app.inject({ method: 'POST', url: '/api/v1/x402/top-up', headers: { [name]: header } });
}

async function nothingIsStored() {
  const result = await gateway.sql.query(
    `SELECT (SELECT count(*)::int FROM directory.payment_claim) AS claims,
            (SELECT count(*)::int FROM cell_0.payment) AS payments,
            (SELECT count(*)::int FROM cell_0.transfer) AS transfers,
            (SELECT count(*)::int FROM directory.evm_transaction) AS sent`,
  );
  return result.rows[0];
}

const NOTHING = { claims: 0, payments: 0, transfers: 0, sent: 0 };
const now = () => BigInt(Math.floor(Date.now() / 1000));

describe('a payment that is not good', () => {
  const somebody = privateKeyToAccount(generatePrivateKey());

  it.each([
    ['signed by another key', {}, { signer: somebody }],
    ['signed for another chain', { domain: { chainId: 1 } }, {}],
    ['signed for another token', { domain: { verifyingContract: somebody.address } }, {}],
    ['signed with another token name', { domain: { name: 'USDC' } }, {}],
    ['signed with another token version', { domain: { version: '1' } }, {}],
    ['expired', { validBefore: now() - 1n }, {}],
    ['about to expire', { validBefore: now() + 2n }, {}],
    ['valid for a day', { validBefore: now() + 86_400n }, {}],
    ['not valid yet', { validAfter: now() + 100n }, {}],
  ] as const)(
    '%s is refused before anything is sent',
    async (_name, options, { signer }: { signer?: typeof somebody }) => {
      const payer = await createPayer(100n);
      const payment = await signPayment(signer ?? payer, gateway.payTo, 10_000_000n, {
        ...options,
        from: payer.address,
      });
      const answer = await present(paymentHeader(payment));
      expect(answer.statusCode).toBe(400);
      expect(answer.json()).toMatchObject({
        error: 'PAYMENT_VERIFICATION_FAILED',
        message: expect.any(String),
      });
      expect(await usdcBalance(payer.address)).toBe(100_000_000n);
      expect(await nothingIsStored()).toEqual(NOTHING);
    },
  );

  it('of a wallet without the money is refused', async () => {
    const payer = await createPayer(9n);
    const answer = await present(paymentHeader(await signPayment(payer, gateway.payTo, 10_000_000n)));
    expect(answer.statusCode).toBe(400);
    expect(answer.json().details).toEqual({ reason: 'invalid_exact_evm_insufficient_balance' });
    expect(await nothingIsStored()).toEqual(NOTHING);
  });

  it('that was cancelled on chain is refused', async () => {
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, gateway.payTo, 10_000_000n);
    const cancellation = await payer.signTypedData({
      domain: { name: 'USD Coin', version: '2', chainId: 8453, verifyingContract: BASE_USDC },
      types: {
        CancelAuthorization: [
          { name: 'authorizer', type: 'address' },
          { name: 'nonce', type: 'bytes32' },
        ],
      },
      primaryType: 'CancelAuthorization',
      message: { authorizer: payer.address, nonce: payment.authorization.nonce },
    });
    const abi = parseAbi(['function cancelAuthorization(address,bytes32,bytes)']);
    await sendAsPayer(
      payer,
      BASE_USDC,
      encodeFunctionData({
        abi,
        functionName: 'cancelAuthorization',
        args: [payer.address, payment.authorization.nonce, cancellation],
      }),
    );
    // A cancellation counts once no reorganisation can undo it.
    await localChain().mine({ blocks: 4 });
    const answer = await present(paymentHeader(payment));
    expect(answer.statusCode).toBe(400);
    expect(answer.json()).toMatchObject({
      error: 'PAYMENT_VERIFICATION_FAILED',
      message: expect.stringContaining('cancelled'),
    });
    expect(await nothingIsStored()).toEqual(NOTHING);
  });

  it.each([
    ['to another receiver', 10_000_000n, somebody.address],
    ['over nothing', 0n, undefined],
  ])('whose nonce was spent %s is refused', async (_name, value, to) => {
    const payer = await createPayer(100n);
    const spent = await signPayment(payer, to ?? gateway.payTo, value);
    const { nonce } = spent.authorization;
    await sendAsPayer(payer, BASE_USDC, transferCallData(lowerCase(spent), spent.signature));
    const answer = await present(
      paymentHeader(await signPayment(payer, gateway.payTo, 10_000_000n, { nonce })),
    );
    expect([answer.statusCode, answer.json().error]).toEqual([400, 'PAYMENT_VERIFICATION_FAILED']);
    expect(await nothingIsStored()).toEqual(NOTHING);
  });

  it.each([
    ['not base64', 'ÿ%%%', 'INVALID_PAYMENT_FORMAT'],
    ['not JSON', Buffer.from('{"x402Version":2').toString('base64'), 'INVALID_PAYMENT_FORMAT'],
    ['an array', encodeBase64Json([]), 'INVALID_PAYMENT_FORMAT'],
    ['null', encodeBase64Json(null), 'INVALID_PAYMENT_FORMAT'],
  ])('that is %s is refused', async (_name, header, code) => {
    const answer = await present(encodeURI(header) === header ? header : encodeURIComponent(header));
    expect([answer.statusCode, answer.json().error]).toEqual([400, code]);
  });

  it.each([
    ['wrong network', { network: 'eip155:1' }, {}, 'UNSUPPORTED_NETWORK'],
    ['wrong scheme', { scheme: 'upto' }, {}, 'UNSUPPORTED_SCHEME'],
    ['wrong receiver', {}, { to: somebody.address }, 'INVALID_PAYMENT_RECIPIENT'],
    ['wrong checksum', {}, { from: '0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2a' }, 'INVALID_PAYMENT_PAYER'],
    ['no payer', {}, { from: undefined }, 'INVALID_PAYMENT_PAYER'],
    ['float', {}, { value: '10000000.5' }, 'INVALID_AMOUNT'],
    ['float number', {}, { value: 10_000_000.5 }, 'INVALID_AMOUNT'],
    ['negative', {}, { value: '-10000000' }, 'INVALID_AMOUNT'],
    ['zero', {}, { value: '0' }, 'INVALID_AMOUNT'],
    ['exponent', {}, { value: '1e7' }, 'INVALID_AMOUNT'],
    ['overflowing', {}, { value: (2n ** 256n).toString() }, 'INVALID_AMOUNT'],
    ['hexadecimal', {}, { value: '0x989680' }, 'INVALID_AMOUNT'],
    ['below the minimum', {}, { value: '4999999' }, 'AMOUNT_TOO_LOW'],
    ['above the maximum', {}, { value: '10000000001' }, 'AMOUNT_TOO_HIGH'],
  ])('with %s is refused', async (_name, root, authorization, code) => {
    const payer = await createPayer(0n);
    const json = paymentJson(await signPayment(payer, gateway.payTo, 10_000_000n));
    const payload = { ...json, authorization: { ...json.authorization, ...authorization } };
    const answer = await present(
      encodeBase64Json({ x402Version: 2, scheme: 'exact', network: 'base', payload, ...root }),
    );
    expect([answer.statusCode, answer.json().error]).toEqual([400, code]);
    expect(await nothingIsStored()).toEqual(NOTHING);
  });

  it('with a wrong token in its chosen requirements is refused', async () => {
    const payer = await createPayer(0n);
    const payload = paymentJson(await signPayment(payer, gateway.payTo, 10_000_000n));
    const accepted = {
      scheme: 'exact',
      network: 'eip155:8453',
      amount: '10000000',
      asset: somebody.address,
      payTo: gateway.payTo,
      maxTimeoutSeconds: 300,
      extra: { name: 'USD Coin', version: '2' },
    };
    const answer = await present(encodeBase64Json({ x402Version: 2, accepted, payload }));
    expect([answer.statusCode, answer.json().error]).toEqual([400, 'UNSUPPORTED_TOKEN']);
  });

  it('truncated at any length is refused', async () => {
    const payer = await createPayer(0n);
    const header = paymentHeader(await signPayment(payer, gateway.payTo, 10_000_000n));
    for (let length = 1; length < header.length; length += 37) {
      const answer = await present(header.slice(0, length));
      expect(answer.statusCode).toBe(400);
    }
    expect(await nothingIsStored()).toEqual(NOTHING);
  });

  it('of a megabyte is refused, in the header and in the body', async () => {
    await gateway.app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = gateway.app.server.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}/api/v1/x402/top-up`;
    const big = 'A'.repeat(1_048_576);
    const inHeader = await fetch(url, { method: 'POST', headers: { 'payment-signature': big } }).then(
      answer => answer.status,
      () => 'connection closed',
    );
    expect([431, 'connection closed']).toContain(inHeader);
    const inBody = await fetch(url, {
      method: 'POST',
      body: big,
      headers: { 'content-type': 'application/json' },
    });
    expect(inBody.status).toBe(413);
    expect(await inBody.json()).toMatchObject({ error: 'PAYLOAD_TOO_LARGE' });
    expect((await gateway.app.inject({ method: 'GET', url: '/healthz' })).statusCode).toBe(200);
  });

  it('presented with a forged signature tells nothing about the real one', async () => {
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, gateway.payTo, 10_000_000n);
    expect((await present(paymentHeader(payment))).statusCode).toBe(200);
    const forged = await signPayment(somebody, gateway.payTo, 10_000_000n, payment.authorization);
    const answer = await present(paymentHeader(forged));
    expect([answer.statusCode, answer.json().error]).toEqual([400, 'PAYMENT_VERIFICATION_FAILED']);
    expect(answer.body).not.toContain('newBalance');
  });

  it('with the nonce of another payment is refused', async () => {
    const payer = await createPayer(100n);
    const payment = await signPayment(payer, gateway.payTo, 10_000_000n);
    expect((await present(paymentHeader(payment))).statusCode).toBe(200);
    const { nonce } = payment.authorization;
    const second = await signPayment(payer, gateway.payTo, 20_000_000n, { nonce });
    const answer = await present(paymentHeader(second));
    expect(answer.statusCode).toBe(400);
    expect(answer.json().details).toEqual({ reason: 'invalid_exact_evm_nonce_already_used' });
    expect(await usdcBalance(payer.address)).toBe(90_000_000n);
  });
});

function lowerCase({ authorization }: SignedPayment) {
  return { ...authorization, from: authorization.from.toLowerCase(), to: authorization.to.toLowerCase() };
}

/** Last, because it leaves something. */
describe('a payment', () => {
  it('that has expired is credited all the same when somebody else had sent it in time', async () => {
    const late = await startGateway({ replicaOf: gateway, clock: { nowMs: () => Date.now() + 400_000 } });
    const [sent, unsent] = await Promise.all(
      [1, 2].map(async () => signPayment(await createPayer(10n), gateway.payTo, 5_000_000n)),
    );
    if (!sent || !unsent) throw new Error('there are two');
    await sendByStranger(sent);
    const answers = [];
    for (const payment of [sent, unsent]) answers.push(await presentPayment(late, paymentHeader(payment)));
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([200, 400]);
    await late.stop();
  });
});
