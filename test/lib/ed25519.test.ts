import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { isSmallOrderKey, verifyEd25519 } from '../../src/lib/ed25519.ts';

interface NoblePoint {
  isSmallOrder(): boolean;
}

/** The curve arithmetic of another implementation, the one inside viem. */
const { ed25519 } = createRequire(createRequire(import.meta.url).resolve('viem'))(
  '@noble/curves/ed25519',
) as {
  ed25519: { ExtendedPoint: { fromHex(bytes: Uint8Array, zip215: boolean): NoblePoint } };
};

const text = Buffer.from('gw.example.com wants you to sign in with your Solana account:');

function keyPair() {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  return { raw, sign: (message: Uint8Array) => sign(null, message, privateKey) };
}

const FIELD = 2n ** 255n - 19n;

const turned = (bytes: Uint8Array): Buffer => Buffer.from([...bytes].toReversed());
const decode = (bytes: Uint8Array): bigint => BigInt(`0x${turned(bytes).toString('hex')}`);

/** Little-endian, with the sign bit of x. */
function encode(y: bigint, negative: boolean): Buffer {
  const bytes = turned(Buffer.from(y.toString(16).padStart(64, '0'), 'hex'));
  if (negative) bytes[31] = (bytes[31] ?? 0) | 0x80;
  return bytes;
}

describe('an Ed25519 signature', () => {
  it('is good for its own text and key alone', async () => {
    const [owner, stranger] = [keyPair(), keyPair()];
    const signature = owner.sign(text);
    expect(await verifyEd25519(text, signature, owner.raw)).toBe(true);
    expect(await verifyEd25519(text, signature, stranger.raw)).toBe(false);
    expect(await verifyEd25519(Buffer.concat([text, text]), signature, owner.raw)).toBe(false);
    for (const index of [0, 31, 32, 63]) {
      const changed = Buffer.from(signature);
      changed[index] = (changed[index] ?? 0) ^ 1;
      expect(await verifyEd25519(text, changed, owner.raw)).toBe(false);
    }
  });

  it.each([
    [63, 32],
    [65, 32],
    [64, 31],
    [64, 33],
    [0, 0],
  ])('of %i bytes under a key of %i is none', async (signatureBytes, keyBytes) => {
    expect(await verifyEd25519(text, Buffer.alloc(signatureBytes, 1), Buffer.alloc(keyBytes, 1))).toBe(false);
  });

  it('under what is no point of the curve is none', async () => {
    const noPoint = Buffer.concat([Buffer.of(2), Buffer.alloc(31)]);
    expect(await verifyEd25519(text, keyPair().sign(text), noPoint)).toBe(false);
  });

  it('has one form: adding the order of the group to s makes another, which is refused', async () => {
    const owner = keyPair();
    const signature = owner.sign(text);
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    const s = decode(signature.subarray(32)) + order;
    const other = Buffer.concat([signature.subarray(0, 32), encode(s, false)]);
    expect(await verifyEd25519(text, other, owner.raw)).toBe(false);
  });

  it('that needs no secret, under a key of small order, is refused', async () => {
    // R is the neutral element and s zero: the equation holds whenever the challenge times the key vanishes.
    const forged = Buffer.concat([encode(1n, false), Buffer.alloc(32)]);
    const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), encode(1n, false)]);
    expect(verify(null, text, createPublicKey({ key: der, format: 'der', type: 'spki' }), forged)).toBe(true);
    expect(await verifyEd25519(text, forged, encode(1n, false))).toBe(false);
  });
});

describe('keys of small order', () => {
  it('are exactly those that curve arithmetic says', () => {
    const candidates = [0n, 1n, 2n, 3n, 4n, 5n, 9n, FIELD - 2n, FIELD - 1n, FIELD, FIELD + 1n, FIELD + 3n];
    const orderEight = [
      '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
      'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    ].map(hex => decode(Buffer.from(hex, 'hex')));
    const found = new Set<string>();
    for (const y of [...candidates, ...orderEight]) {
      for (const negative of [false, true]) {
        const bytes = encode(y, negative);
        let small: boolean;
        try {
          small = ed25519.ExtendedPoint.fromHex(bytes, true).isSmallOrder();
        } catch {
          continue;
        }
        expect(isSmallOrderKey(bytes), bytes.toString('hex')).toBe(small);
        if (small) found.add(bytes.toString('hex'));
      }
    }
    // Eight points, and more spellings of some of them.
    expect(found.size).toBeGreaterThanOrEqual(8);
  });

  it('are no ordinary keys', () => {
    for (let n = 0; n < 20; n += 1) expect(isSmallOrderKey(keyPair().raw)).toBe(false);
  });
});
