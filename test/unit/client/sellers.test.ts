import { recoverMessageAddress, recoverTypedDataAddress } from 'viem';
import { afterEach, describe, expect, it } from 'vitest';
import { createDriaSeller, registerWallet } from '../../../src/client/dria.ts';
import { NoAnswerError } from '../../../src/client/http.ts';
import { payOnce } from '../../../src/client/pay.ts';
import { RefusedError, type Seller } from '../../../src/client/seller.ts';
import { UnacceptableOfferError } from '../../../src/client/terms.ts';
import { createVeniceSeller } from '../../../src/client/venice.ts';
import { decodeBase64Json, encodeBase64Json } from '../../../src/lib/base64.ts';
import { entry, PAY_TO, type Reply, startFakeSeller, wallet } from './fake-seller.ts';

type Fake = Awaited<ReturnType<typeof startFakeSeller>>;

const KEY = `dkn_live_${'a1B2'.repeat(10)}`;
const NOW_MS = Date.UTC(2026, 10, 20, 18, 0, 0);

const fakes: Fake[] = [];
afterEach(async () => {
  for (const fake of fakes.splice(0)) await fake.stop();
});

async function start(answer: Parameters<typeof startFakeSeller>[0]): Promise<Fake> {
  const fake = await startFakeSeller(answer);
  fakes.push(fake);
  return fake;
}

const venice = ({ origin }: Fake, amountBaseUnits = 10_000_000n) =>
  createVeniceSeller({ origin, wallet, amountBaseUnits });

const dria = ({ origin }: Fake, apiKey = KEY) =>
  createDriaSeller({
    origin,
    wallet,
    amount: '10',
    amountBaseUnits: 10_000_000n,
    apiKey,
  });

const offer = (changes: object = {}): Reply => ({
  status: 402,
  body: { x402Version: 2, accepts: [{ ...entry, ...changes }] },
});

describe.each<[string, (fake: Fake) => Seller | Promise<Seller>]>([
  ['venice', venice],
  ['dria', dria],
])('an offer in %s', (dialect, createSeller) => {
  const askTerms = async (fake: Fake) => (await createSeller(fake)).askTerms();

  it('is read into terms', async () => {
    expect(await askTerms(await start(() => offer()))).toMatchObject({
      network: { network: 'eip155:8453' },
      payTo: PAY_TO.toLowerCase(),
      amountBaseUnits: 10_000_000n,
      maxTimeoutSeconds: 300,
    });
  });

  it('may name its network in the older way, and its token in lower case', async () => {
    const changes = { network: 'base', asset: entry.asset.toLowerCase() };
    expect(await askTerms(await start(() => offer(changes)))).toMatchObject({
      network: { network: 'eip155:8453' },
    });
  });

  it('is never good for more than an hour', async () => {
    const terms = await askTerms(await start(() => offer({ maxTimeoutSeconds: 10_000_000 })));
    expect(terms.maxTimeoutSeconds).toBe(3_600);
  });

  it.each<[string, object]>([
    ['another scheme', { scheme: 'upto' }],
    ['a network that is not known', { network: 'eip155:1' }],
    ['another token', { asset: '0x036CbD53842c5426634e7929541eC2318f3dCF7e' }],
    ['no token', { asset: undefined }],
    ['a token name that another chain has', { extra: { name: 'USDC', version: '2' } }],
    ['no token name', { extra: null }],
    ['no receiver', { payTo: undefined }],
    ['a receiver with a wrong checksum', { payTo: PAY_TO.replace('E', 'e') }],
    ['nobody as receiver', { payTo: `0x${'0'.repeat(40)}` }],
    ['the payer as receiver', { payTo: wallet.address }],
    ['the token as receiver', { payTo: entry.asset }],
    ['a time limit that is none', { maxTimeoutSeconds: '300' }],
    ['a price in words', { amount: 'ten', maxAmountRequired: 'ten' }],
    ['a price as a number', { amount: 10, maxAmountRequired: 10 }],
    ['more than was agreed', { amount: '10000001', maxAmountRequired: '10000001' }],
  ])('with %s is not signed', async (_, changes) => {
    const fake = await start(() => offer(changes));
    await expect(askTerms(fake)).rejects.toThrow(UnacceptableOfferError);
    expect(fake.seen).toHaveLength(1);
  });

  it('that is none is not signed', async () => {
    for (const body of [{}, { accepts: [] }, { accepts: [7] }, [], 'text']) {
      await expect(askTerms(await start(() => ({ status: 402, body })))).rejects.toThrow(
        UnacceptableOfferError,
      );
    }
  });

  it('is not looked for elsewhere: a redirect is no answer', async () => {
    const elsewhere = await start(() => offer());
    const fake = await start(() => ({ status: 307, headers: { location: elsewhere.origin.href } }));
    await expect(askTerms(fake)).rejects.toThrow(NoAnswerError);
    expect(elsewhere.seen).toEqual([]);
  });

  it('is not read without end', async () => {
    const fake = await start(() => ({ status: 402, body: 'x'.repeat(1_000_001) }));
    await expect(askTerms(fake)).rejects.toThrow('too long');
  });

  it('that is not made is told in one harmless line', async () => {
    const body = dialect === 'dria' ? 'no\u001b[2J such\nkey' : { error: 'no\u001b[2J such\nkey' };
    const fake = await start(() => ({ status: 401, body }));
    await expect(askTerms(fake)).rejects.toThrow(RefusedError);
    await expect(askTerms(fake)).rejects.toThrow(/no\?\[2J such\?key/);
  });
});

describe('a price', () => {
  it('of venice is a minimum', async () => {
    const fake = await start(() => offer());
    expect(await venice(fake, 5_000_000n).askTerms()).toMatchObject({ amountBaseUnits: 5_000_000n });
    await expect(venice(fake, 4_999_999n).askTerms()).rejects.toThrow('the least top-up is 5 USDC');
  });

  it('of dria is exact, and there is one', async () => {
    const less = await start(() => offer({ maxAmountRequired: '9999999' }));
    await expect(dria(less).askTerms()).rejects.toThrow(UnacceptableOfferError);
    const two = await start(() => ({ status: 402, body: { accepts: [entry, entry] } }));
    await expect(dria(two).askTerms()).rejects.toThrow('more than one offer');
  });
});

const terms = { ...wallet.checkEntry(entry), amountBaseUnits: 10_000_000n };

describe('a payment', () => {
  it('is what USDC verifies', async () => {
    const { payload, signedUntilMs } = await terms.sign(terms.amountBaseUnits, NOW_MS);
    const { signature, authorization } = payload as {
      signature: string;
      authorization: Record<'from' | 'to' | 'nonce', `0x${string}`> &
        Record<'value' | 'validAfter' | 'validBefore', string>;
    };
    expect(signedUntilMs).toBe(NOW_MS + 300_000);
    const now = NOW_MS / 1000;
    expect(authorization).toMatchObject({
      from: wallet.address,
      to: PAY_TO.toLowerCase(),
      value: '10000000',
      validAfter: String(now - 600),
      validBefore: String(now + 300),
    });
    const field = (name: string, type: string) => ({ name, type });
    const signer = await recoverTypedDataAddress({
      domain: {
        name: 'USD Coin',
        version: '2',
        chainId: 8453,
        verifyingContract: '0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913',
      },
      types: {
        TransferWithAuthorization: [
          field('from', 'address'),
          field('to', 'address'),
          field('value', 'uint256'),
          field('validAfter', 'uint256'),
          field('validBefore', 'uint256'),
          field('nonce', 'bytes32'),
        ],
      },
      primaryType: 'TransferWithAuthorization',
      message: authorization,
      signature: signature as `0x${string}`,
    });
    expect(signer.toLowerCase()).toBe(wallet.address);
  });

  const paid: Record<string, Reply> = {
    venice: {
      status: 200,
      headers: { 'payment-response': encodeBase64Json({ success: true, transaction: '0xabc' }) },
      body: { success: true, data: { amountCredited: 10, newBalance: 12.5, paymentId: 'p-1' } },
    },
    dria: { status: 200, body: { credits_added: 1000, balance: 1250, txHash: '0xabc' } },
  };
  const receipts: Record<string, object> = {
    venice: { transaction: '0xabc', credited: '10 USD', balance: '12.5 USD', paymentId: 'p-1' },
    dria: { transaction: '0xabc', credited: '1000 credits', balance: '1250 credits' },
  };
  const header: Record<string, string> = { venice: 'payment-signature', dria: 'x-payment' };

  async function pay(dialect: string, answer: Parameters<typeof startFakeSeller>[0], waitMs = 60_000) {
    const fake = await start(answer);
    const seller = dialect === 'dria' ? dria(fake) : venice(fake);
    const pauses: number[] = [];
    let nowMs = NOW_MS;
    const result = await payOnce({
      seller,
      terms,
      waitMs,
      nowMs: () => nowMs,
      sleep: async ms => {
        pauses.push(ms);
        nowMs += ms;
      },
      onUnknown: () => undefined,
    });
    const sent = fake.seen.map(({ headers }) => headers[header[dialect] ?? '']);
    return { result, pauses, sent };
  }

  it.each(['venice', 'dria'])('is sent in the form of %s and brings a receipt', async dialect => {
    const { result, sent } = await pay(dialect, () => paid[dialect] ?? expect.unreachable());
    expect(result).toMatchObject({ kind: 'paid', receipt: receipts[dialect] });
    expect(decodeBase64Json(String(sent[0]))).toMatchObject({
      x402Version: dialect === 'dria' ? 1 : 2,
      scheme: 'exact',
      network: dialect === 'dria' ? 'base' : 'eip155:8453',
      payload: { authorization: { value: '10000000' } },
    });
  });

  it.each(['venice', 'dria'])('is signed once, however often %s cannot tell', async dialect => {
    const unknowns: Reply[] = [
      { status: 503, headers: { 'retry-after': '7' }, body: 'later' },
      { status: 504, body: { error: 'SETTLEMENT_TIMEOUT', details: { paymentId: 'p-1' } } },
      { status: 409, headers: { 'retry-after': '1e9' }, body: { error: 'PAYMENT_IN_PROGRESS' } },
      { status: 429, body: 'slow down' },
      { status: 500, body: '<html>' },
      { status: 200, body: 'not json' },
    ];
    const { result, pauses, sent } = await pay(
      dialect,
      (_, count) => unknowns[count - 1] ?? paid[dialect] ?? expect.unreachable(),
    );
    expect(result.kind).toBe('paid');
    expect(pauses).toEqual([7_000, 2_000, 2_000, 2_000, 2_000, 2_000]);
    expect(new Set(sent).size).toBe(1);
  });

  it.each(['venice', 'dria'])('is given up as unknown when %s never can tell', async dialect => {
    const body = { error: 'SETTLEMENT_TIMEOUT', details: { paymentId: 'p-1' } };
    const { result, sent } = await pay(dialect, () => ({ status: 504, body }), 5_000);
    expect(result).toMatchObject({ kind: 'unknown', signedUntilMs: NOW_MS + 300_000 });
    expect(sent).toHaveLength(3);
    if (dialect === 'venice') expect(result).toMatchObject({ paymentId: 'p-1' });
  });

  const settlementFailed: Record<string, Reply> = {
    venice: { status: 402, body: { error: 'SETTLEMENT_FAILED', message: 'No funds were moved' } },
    dria: { status: 402, body: { x402Version: 1, error: 'invalid_transaction_state', accepts: [entry] } },
  };
  const settlementFailedOf = (dialect: string) => settlementFailed[dialect] ?? expect.unreachable();
  const insufficient = {
    status: 402,
    body: { x402Version: 1, error: 'insufficient_funds', accepts: [entry] },
  };
  const verificationFailed = {
    error: 'PAYMENT_VERIFICATION_FAILED',
    details: { reason: 'insufficient_funds' },
  };

  it.each<[string, Reply]>([
    ...[400, 401, 403, 404, 413].flatMap((status): [string, Reply][] => [
      ['venice', { status, body: verificationFailed }],
      ['dria', { status, body: 'the key is missing or not valid' }],
    ]),
    ['venice', settlementFailedOf('venice')],
    ['dria', settlementFailedOf('dria')],
    ['dria', insufficient],
  ])('that %s refuses at once is not sent again: %o', async (dialect, reply) => {
    const { result, sent } = await pay(dialect, () => reply);
    expect(result).toMatchObject({ kind: 'refused' });
    expect(sent).toHaveLength(1);
  });

  const lost: Reply = { status: 503, body: 'later' };

  it.each<[string, Reply]>([
    ...[400, 401, 403, 404, 413].flatMap((status): [string, Reply][] => [
      ['venice', { status, body: verificationFailed }],
      ['dria', { status, body: 'refused' }],
    ]),
    ['venice', offer()],
    ['venice', { status: 402, body: 'Payment Required' }],
    ['dria', insufficient],
    [
      'dria',
      { status: 402, body: { x402Version: 1, error: 'X-PAYMENT header is required', accepts: [entry] } },
    ],
    ['dria', { status: 402, body: { x402Version: 1, error: 'duplicate_settlement', accepts: [entry] } }],
    ['dria', { status: 402, body: { error: 7 } }],
  ])('of which nobody could tell stays so when %s refuses it later: %o', async (dialect, reply) => {
    const { result, sent } = await pay(dialect, (_, count) => (count === 1 ? lost : reply), 5_000);
    expect(result).toMatchObject({ kind: 'unknown', signedUntilMs: NOW_MS + 300_000 });
    expect(sent).toHaveLength(3);
    expect(new Set(sent).size).toBe(1);
  });

  it.each(['venice', 'dria'])('of which nobody could tell ends by what %s proves of it', async dialect => {
    const failed = settlementFailedOf(dialect);
    const { result, sent } = await pay(dialect, (_, count) => (count < 3 ? lost : failed));
    expect(result).toMatchObject({ kind: 'refused' });
    expect(sent).toHaveLength(3);
    const later = await pay(dialect, (_, count) =>
      count === 1 ? lost : count === 2 ? { status: 401, body: 'refused' } : (paid[dialect] ?? failed),
    );
    expect(later.result.kind).toBe('paid');
  });

  it.each<[string, Reply]>([
    ['venice', offer()],
    ['venice', { status: 402, body: 'Payment Required' }],
    ['venice', { status: 400, body: { details: { reason: 'invalid_exact_evm_nonce_already_used' } } }],
    ['dria', { status: 402, body: { x402Version: 1, error: 'duplicate_settlement', accepts: [entry] } }],
  ])('is not refused by an answer of %s that proves nothing: %o', async (dialect, reply) => {
    const { result, sent } = await pay(dialect, () => reply, 3_000);
    expect(result.kind).toBe('unknown');
    expect(sent).toHaveLength(2);
  });

  it('keeps the name that it was given, when a later answer has none', async () => {
    const named = { status: 504, body: { error: 'SETTLEMENT_TIMEOUT', details: { paymentId: 'p-1' } } };
    const { result } = await pay('venice', (_, count) => (count === 1 ? named : { status: 401 }), 5_000);
    expect(result).toMatchObject({ kind: 'unknown', paymentId: 'p-1' });
  });

  it('whose answer is lost is sent again', async () => {
    const seller = venice(await start(() => paid['venice'] ?? expect.unreachable()));
    const gone = await start(() => ({ status: 200 }));
    const silent = venice(gone);
    await gone.stop();
    const payloads: unknown[] = [];
    const flaky: Seller = {
      ...seller,
      pay: (each, payload) => {
        payloads.push(payload);
        return (payloads.length === 1 ? silent : seller).pay(each, payload);
      },
    };
    const nowMs = () => NOW_MS;
    const sleep = async () => undefined;
    const result = await payOnce({
      seller: flaky,
      terms,
      waitMs: 60_000,
      nowMs,
      sleep,
      onUnknown: () => undefined,
    });
    expect(result.kind).toBe('paid');
    expect(payloads[1]).toBe(payloads[0]);
  });
});

describe('a wallet without a key', () => {
  it('gets one from dria by a text that it signs', async () => {
    const fake = await start(() => ({ status: 200, body: { api_key: KEY } }));
    expect(await registerWallet({ origin: fake.origin, wallet }, NOW_MS)).toBe(KEY);
    const { path, body } = fake.seen[0] ?? expect.unreachable();
    expect(path).toBe('/v1/auth/wallet');
    const { address, message, signature } = JSON.parse(body) as Record<string, string>;
    expect(message).toContain(`${fake.origin.host} wants wallet ${wallet.address}`);
    const signer = await recoverMessageAddress({
      message: message ?? '',
      signature: signature as `0x${string}`,
    });
    expect([address, signer.toLowerCase()]).toEqual([wallet.address, wallet.address]);
  });
});
