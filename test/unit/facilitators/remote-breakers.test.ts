import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createFacilitatorRegistry } from '../../../src/facilitators/registry.ts';
import { createRemoteFacilitator, type RemoteFacilitator } from '../../../src/facilitators/remote.ts';
import type { ExactPayment } from '../../../src/ports/payment.ts';

const FAILURES_TO_OPEN = 5;
const NETWORK = 'eip155:8453';

const payment: ExactPayment = {
  kind: 'eip3009',
  scheme: 'exact',
  network: NETWORK,
  asset: '0xasset',
  payTo: '0xseller',
  payer: '0xpayer',
  amountBaseUnits: 5n,
  identity: 'eip3009:8453:0xasset:0xpayer:0xnonce',
  authorization: {
    from: '0xpayer',
    to: '0xseller',
    value: 5n,
    validAfter: 0n,
    validBefore: 2n ** 60n,
    nonce: '0xnonce',
    signature: '0xsignature',
  },
};

/** Methods that answer 500 or 429, those that begin to answer and never end, and how often each was called. */
const broken = new Set<string>();
const limited = new Set<string>();
const endless = new Set<string>();
const calls: Record<string, number> = {};
const ANSWERS: Record<string, unknown> = {
  '/verify': { isValid: true },
  '/settle': { success: true, transaction: `0x${'ab'.repeat(32)}`, network: NETWORK },
  '/supported': { kinds: [{ x402Version: 2, scheme: 'exact', network: NETWORK }], signers: {} },
};

const server = createServer((request, response) => {
  const path = request.url ?? '';
  calls[path] = (calls[path] ?? 0) + 1;
  request.resume().on('end', () => {
    response.statusCode = broken.has(path) ? 500 : limited.has(path) ? 429 : 200;
    if (endless.has(path)) response.write('{');
    else response.end(JSON.stringify(ANSWERS[path]));
  });
});

beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

function newRemote(askTimeoutMs: number): RemoteFacilitator {
  const clock = { nowMs: () => 0 };
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const store = {
    list: () => Promise.resolve([]),
    listDoubts: () => Promise.resolve([]),
    saveSupported: () => Promise.resolve(),
    distrust: () => Promise.resolve(true),
    trust: () => Promise.resolve(true),
  };
  return createRemoteFacilitator({
    address: { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, headers: {} },
    networks: [{ network: NETWORK, alias: 'base', maxTimeoutSeconds: 300 }],
    checks: { verifySignature: () => Promise.resolve(true), checkTerms: () => undefined },
    registry: createFacilitatorRegistry({ store, clock, log }),
    publicOrigin: 'https://pay.example.com',
    clock,
    settleTimeoutMs: 2_000,
    askTimeoutMs,
  });
}

it('each method of a facilitator has a breaker of its own', async () => {
  const facilitator = newRemote(2_000);
  broken.add('/verify');
  for (let call = 0; call <= FAILURES_TO_OPEN; call += 1) {
    await expect(facilitator.verify(payment)).rejects.toMatchObject({ code: 'unavailable' });
  }
  expect(calls['/verify']).toBe(FAILURES_TO_OPEN);

  // Whoever verified it, it can still be settled there, and asked what it supports.
  await facilitator.checkCapacity(NETWORK);
  expect(await facilitator.settle('payment', payment)).toMatchObject({ kind: 'submitted' });
  expect([await facilitator.learn(), calls['/settle'], calls['/supported']]).toEqual([undefined, 1, 1]);

  broken.add('/settle');
  for (let call = 0; call < FAILURES_TO_OPEN; call += 1) {
    expect(await facilitator.settle('payment', payment)).toMatchObject({ kind: 'unknown' });
  }
  // Not called, so nothing was sent, and nobody is to be verified for it either.
  expect(await facilitator.settle('payment', payment)).toMatchObject({ kind: 'not_submitted' });
  await expect(facilitator.checkCapacity(NETWORK)).rejects.toMatchObject({ code: 'unavailable' });
  expect([await facilitator.learn(), calls['/settle']]).toEqual([undefined, FAILURES_TO_OPEN + 1]);
});

it('an answer to verify or supported that does not end is given up', async () => {
  const facilitator = newRemote(100);
  broken.clear();
  for (const path of ['/verify', '/supported']) endless.add(path);
  await expect(facilitator.verify(payment)).rejects.toMatchObject({
    code: 'unavailable',
    cause: { message: 'verify: TimeoutError' },
  });
  expect(await facilitator.learn()).toBe('supported: TimeoutError');
});

it('a result that comes with a status of refusal is followed up, and is no claim of success', async () => {
  broken.clear();
  limited.add('/settle');
  expect(await newRemote(2_000).settle('payment', payment)).toEqual({
    kind: 'submitted',
    transaction: `0x${'ab'.repeat(32)}`,
    reported: true,
  });
});
