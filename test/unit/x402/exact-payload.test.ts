import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeBase64Json } from '../../../src/lib/base64.ts';
import { GatewayError } from '../../../src/lib/errors.ts';
import { requireKind } from '../../../src/ports/payment.ts';
import { decodeExactPayment } from '../../../src/protocols/x402-exact.ts';

const USDC = '0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913';
const PAY_TO = '0x2670B922ef37C7Df47158725C0CC407b5382293F';
const PAYER = '0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A';
const NONCE = `0x${'aB'.repeat(32)}`;

const options = [
  { network: 'eip155:8453', networkAlias: 'base', asset: USDC.toLowerCase(), payTo: PAY_TO.toLowerCase() },
];

const authorization = {
  from: PAYER,
  to: PAY_TO,
  value: '10000000',
  validAfter: '0',
  validBefore: '1795198000',
  nonce: NONCE,
};
const payload = { signature: `0x${'Cd'.repeat(65)}`, authorization };
const shapeA = { x402Version: 2, scheme: 'exact', network: 'base', payload };
const accepted = {
  scheme: 'exact',
  network: 'eip155:8453',
  amount: '5000000',
  asset: USDC.toLowerCase(),
  payTo: PAY_TO.toLowerCase(),
  maxTimeoutSeconds: 300,
  extra: { name: 'USD Coin', version: '2' },
};
const shapeC = { x402Version: 2, accepted, payload };

const decode = (value: unknown) => decodeExactPayment(encodeBase64Json(value), options);

function refusalOf(header: string): { code: string; field: unknown } {
  try {
    decodeExactPayment(header, options);
  } catch (error) {
    if (error instanceof GatewayError) return { code: error.code, field: error.details?.['field'] };
    throw error;
  }
  return expect.unreachable('the payment was accepted');
}

const refusalOfValue = (value: unknown) => refusalOf(encodeBase64Json(value));
const withAuthorization = (changes: object) => ({
  ...shapeA,
  payload: { ...payload, authorization: { ...authorization, ...changes } },
});

describe('accepted shapes', () => {
  const lower = PAYER.toLowerCase();
  const expected = {
    kind: 'eip3009',
    scheme: 'exact',
    network: 'eip155:8453',
    asset: USDC.toLowerCase(),
    payTo: PAY_TO.toLowerCase(),
    payer: lower,
    amountBaseUnits: 10_000_000n,
    identity: `eip3009:8453:${USDC.toLowerCase()}:${lower}:${NONCE.toLowerCase()}`,
    authorization: {
      from: lower,
      to: PAY_TO.toLowerCase(),
      value: 10_000_000n,
      validAfter: 0n,
      validBefore: 1_795_198_000n,
      nonce: NONCE.toLowerCase(),
      signature: `0x${'cd'.repeat(65)}`,
    },
  };

  it.each([
    ['version 1 fields under version 2, short network name', shapeA],
    ['version 1 fields under version 2, CAIP-2', { ...shapeA, network: 'eip155:8453' }],
    ['version 1', { ...shapeA, x402Version: 1 }],
    ['version 2', shapeC],
    [
      'version 2 with a resource and extensions',
      { ...shapeC, resource: { url: 'https://x' }, extensions: {} },
    ],
    [
      'version 2, checksummed addresses',
      { ...shapeC, accepted: { ...accepted, asset: USDC, payTo: PAY_TO } },
    ],
    [
      'version 2, an amount that is not the signed one',
      { ...shapeC, accepted: { ...accepted, amount: '7' } },
    ],
  ])('%s', (_, value) => {
    expect(decode(value)).toEqual(expected);
  });

  it('reads base64 without padding and in the URL alphabet', () => {
    const unusual = { ...shapeA, note: '>>>???ÿ' };
    const standard = encodeBase64Json(unusual);
    expect(standard).toMatch(/[+/]/);
    for (const header of [standard.replace(/=+$/, ''), standard.replaceAll('+', '-').replaceAll('/', '_')]) {
      expect(decodeExactPayment(header, options)).toEqual(expected);
    }
  });

  it('keeps a long signature of a contract wallet', () => {
    const signature = `0x${'01'.repeat(4096)}`;
    const decoded = decode({ ...shapeA, payload: { ...payload, signature } });
    expect(requireKind(decoded, 'eip3009').authorization.signature).toBe(signature);
  });

  it('finds the option that was chosen among several on a network', () => {
    const second = { ...options[0]!, asset: `0x${'22'.repeat(20)}`, payTo: `0x${'33'.repeat(20)}` };
    const header = encodeBase64Json({
      ...shapeC,
      accepted: { ...accepted, asset: second.asset, payTo: second.payTo },
      payload: { ...payload, authorization: { ...authorization, to: second.payTo } },
    });
    expect(decodeExactPayment(header, [...options, second])).toMatchObject({
      asset: second.asset,
      payTo: second.payTo,
    });
  });
});

describe('refusals', () => {
  it.each([
    ['no base64', '{"x402Version":2}'],
    ['two joined headers', `${encodeBase64Json(shapeA)}, ${encodeBase64Json(shapeA)}`],
    ['empty', ''],
    ['truncated', encodeBase64Json(shapeA).slice(0, 200)],
    ['a megabyte', 'A'.repeat(1_048_576)],
    ['no UTF-8', Buffer.from([0x22, 0xff, 0x22]).toString('base64')],
    ['deeply nested', Buffer.from('['.repeat(12_000)).toString('base64')],
  ])('header: %s', (_, header) => {
    expect(refusalOf(header)).toEqual({ code: 'payment_malformed', field: 'payment' });
  });

  it.each<[string, unknown, string, string]>([
    ['an array', [shapeA], 'payment_malformed', 'payment'],
    ['null', null, 'payment_malformed', 'payment'],
    ['no version', { ...shapeA, x402Version: undefined }, 'payment_malformed', 'x402Version'],
    ['version 3', { ...shapeA, x402Version: 3 }, 'payment_malformed', 'x402Version'],
    ['version as text', { ...shapeA, x402Version: '2' }, 'payment_malformed', 'x402Version'],
    ['accepted under version 1', { ...shapeC, x402Version: 1 }, 'payment_malformed', 'accepted'],
    ['accepted is null', { ...shapeC, accepted: null }, 'payment_malformed', 'accepted'],
    ['no scheme', { ...shapeA, scheme: undefined }, 'payment_malformed', 'scheme'],
    ['another scheme', { ...shapeA, scheme: 'upto' }, 'unsupported_scheme', 'scheme'],
    [
      'another accepted scheme',
      { ...shapeC, accepted: { ...accepted, scheme: 'upto' } },
      'unsupported_scheme',
      'accepted.scheme',
    ],
    ['no network', { ...shapeA, network: undefined }, 'payment_malformed', 'network'],
    ['another network', { ...shapeA, network: 'base-sepolia' }, 'unsupported_network', 'network'],
    [
      'Solana',
      { ...shapeA, network: 'solana', payload: { transaction: 'AA==' } },
      'unsupported_network',
      'network',
    ],
    [
      'another accepted network',
      { ...shapeC, accepted: { ...accepted, network: 'eip155:1' } },
      'unsupported_network',
      'accepted.network',
    ],
    [
      'another token',
      { ...shapeC, accepted: { ...accepted, asset: PAYER } },
      'unsupported_asset',
      'accepted.asset',
    ],
    [
      'the token with a wrong checksum',
      { ...shapeC, accepted: { ...accepted, asset: USDC.replace('fCD6', 'FCD6') } },
      'unsupported_asset',
      'accepted.asset',
    ],
    [
      'another accepted receiver',
      { ...shapeC, accepted: { ...accepted, payTo: PAYER } },
      'recipient_mismatch',
      'accepted.payTo',
    ],
    ['no payload', { ...shapeA, payload: undefined }, 'payment_malformed', 'payload'],
    ['an empty payload', { ...shapeA, payload: {} }, 'payment_malformed', 'payload.authorization'],
    [
      'Permit2',
      { ...shapeC, payload: { signature: '0x01', permit2Authorization: {} } },
      'payment_unusable',
      'payload',
    ],
    [
      'a Solana transaction on Base',
      { ...shapeC, payload: { transaction: 'AA==' } },
      'payment_unusable',
      'payload',
    ],
  ])('payload: %s', (_, value, code, field) => {
    expect(refusalOfValue(value)).toEqual({ code, field });
  });

  it.each<[string, object, string, string]>([
    ['no payer', { from: undefined }, 'invalid_payer', 'from'],
    ['a payer with a wrong checksum', { from: PAYER.replace('E7E3', 'e7E3') }, 'invalid_payer', 'from'],
    [
      'a payer that is a Solana address',
      { from: '8qUL23aSj7mDWdoLMXGHFvnVCT9wd7jXcysiekroADEL' },
      'invalid_payer',
      'from',
    ],
    ['the zero address as payer', { from: `0x${'0'.repeat(40)}` }, 'invalid_payer', 'from'],
    ['no receiver', { to: undefined }, 'recipient_mismatch', 'to'],
    ['another receiver', { to: PAYER }, 'recipient_mismatch', 'to'],
    [
      'the receiver with a wrong checksum',
      { to: PAY_TO.replace('B922', 'b922') },
      'recipient_mismatch',
      'to',
    ],
    ['no amount', { value: undefined }, 'invalid_amount', 'value'],
    ['a JSON number', { value: 10_000_000 }, 'invalid_amount', 'value'],
    ['zero', { value: '0' }, 'invalid_amount', 'value'],
    ['a negative amount', { value: '-10000000' }, 'invalid_amount', 'value'],
    ['a signed amount', { value: '+10000000' }, 'invalid_amount', 'value'],
    ['a fraction', { value: '10000000.0' }, 'invalid_amount', 'value'],
    ['an exponent', { value: '1e7' }, 'invalid_amount', 'value'],
    ['hexadecimal', { value: '0x989680' }, 'invalid_amount', 'value'],
    ['leading zeros', { value: '010000000' }, 'invalid_amount', 'value'],
    ['white space', { value: ' 10000000' }, 'invalid_amount', 'value'],
    ['other digits', { value: '١٠٠٠٠٠٠٠' }, 'invalid_amount', 'value'],
    ['2^256', { value: (2n ** 256n).toString() }, 'invalid_amount', 'value'],
    ['a short nonce', { nonce: '0x01' }, 'payment_malformed', 'nonce'],
    ['a numeric nonce', { nonce: 7 }, 'payment_malformed', 'nonce'],
    ['no start', { validAfter: undefined }, 'payment_malformed', 'validAfter'],
    ['a float start', { validAfter: 1.5 }, 'payment_malformed', 'validAfter'],
    ['a negative end', { validBefore: '-1' }, 'payment_malformed', 'validBefore'],
    ['an overflowing end', { validBefore: (2n ** 256n).toString() }, 'payment_malformed', 'validBefore'],
  ])('authorization: %s', (_, changes, code, field) => {
    expect(refusalOfValue(withAuthorization(changes))).toEqual({
      code,
      field: `payload.authorization.${field}`,
    });
  });

  it.each([
    ['missing', undefined],
    ['empty', '0x'],
    ['odd', '0x123'],
    ['without prefix', 'cd'.repeat(65)],
    ['no hex', '0xzz'],
    ['too long', `0x${'01'.repeat(4097)}`],
  ])('signature: %s', (_, signature) => {
    const refused = refusalOfValue({ ...shapeA, payload: { ...payload, signature } });
    expect(refused).toEqual({ code: 'payment_malformed', field: 'payload.signature' });
  });
});

describe('arbitrary input', () => {
  const run = { numRuns: 300, seed: 402 };

  it('is refused with a payment code, never an accident', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String(), fc.jsonValue().map(encodeBase64Json)), header => {
        expect(refusalOf(header).code).toMatch(/^payment_malformed|^unsupported_/);
      }),
      run,
    );
  });

  it('in any one place of a good payment is refused or leaves the payment whole', () => {
    const places = Object.keys(authorization) as (keyof typeof authorization)[];
    fc.assert(
      fc.property(fc.constantFrom(...places), fc.jsonValue(), (place, value) => {
        try {
          const decoded = decode(withAuthorization({ [place]: value }));
          expect(decoded.payTo).toBe(PAY_TO.toLowerCase());
          expect(decoded.amountBaseUnits).toBeGreaterThan(0n);
          expect(requireKind(decoded, 'eip3009').authorization.nonce).toMatch(/^0x[0-9a-f]{64}$/);
        } catch (error) {
          expect(error).toBeInstanceOf(GatewayError);
        }
      }),
      run,
    );
  });
});
