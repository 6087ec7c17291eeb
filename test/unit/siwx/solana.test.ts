import { describe, expect, it } from 'vitest';
import { checkWalletProof } from '../../../src/customers/wallet-proof.ts';
import { createWalletSignatures } from '../../../src/customers/wallet-signatures.ts';
import { encodeBase64Json } from '../../../src/lib/base64.ts';
import {
  account,
  iso,
  messageOf,
  NOW_MS,
  proofHeader,
  SOLANA,
  solanaHeader,
  solanaMessage,
  solanaWallet,
} from './signed-proof.ts';

const wallet = solanaWallet(1);
const stranger = solanaWallet(2);
const checks = { domains: ['gw.example.com'], nowMs: NOW_MS, signatures: createWalletSignatures([]) };

const check = (header: string) => checkWalletProof(header, checks);
const refused = (reason: string) => ({ code: 'proof_invalid', details: { reason } });

/** The fields that a generic client sends, signed over the text that they make. */
function structured(changes: Record<string, unknown> = {}): string {
  const fields = {
    domain: 'gw.example.com:8443',
    address: wallet.address,
    statement: 'Sign in to Venice AI',
    uri: 'https://gw.example.com:8443/api/v1/x402/balance/x',
    version: '1',
    nonce: 'abcdef0123456789',
    issuedAt: iso(),
    expirationTime: iso(300_000),
  };
  const signature = wallet.signBase58(solanaMessage(wallet, fields));
  return encodeBase64Json({ ...fields, chainId: SOLANA, type: 'ed25519', signature, ...changes });
}

describe('a Solana wallet', () => {
  const message = solanaMessage(wallet);

  it.each<[string, object]>([
    ['base58', {}],
    ['base64', { signature: wallet.sign(message).toString('base64') }],
    ['base64 without padding', { signature: wallet.sign(message).toString('base64').replace(/=+$/, '') }],
    ['base64 of the URL alphabet', { signature: wallet.sign(message).toString('base64url') }],
    ['base58 without its type and chain', { type: undefined, chainId: undefined }],
    ['base58 with a timestamp', { timestamp: NOW_MS }],
  ])('signs in with a signature in %s', async (_, changes) => {
    expect(await check(solanaHeader(wallet, message, changes))).toEqual({
      wallet: wallet.address,
      chain: SOLANA,
      nonce: '92d3fb13f6124ecc',
      expiresAtMs: NOW_MS + 300_000,
      statement: 'Sign in to Venice AI',
    });
  });

  it.each([
    ['with the prefixed chain', { chainId: SOLANA }],
    ['without a statement', { statement: undefined }],
  ])('may sign a text %s', async (_, changes) => {
    const header = solanaHeader(wallet, solanaMessage(wallet, changes));
    expect(await check(header)).toMatchObject({ wallet: wallet.address });
  });

  it('signs in with fields instead of a text', async () => {
    expect(await check(structured())).toMatchObject({ wallet: wallet.address, nonce: 'abcdef0123456789' });
  });

  it('signs in whatever its signature looks like in the other alphabet', async () => {
    // Signatures that begin with a zero byte are shorter in base58, where texts of both alphabets meet.
    let short = 0;
    for (let n = 0; short < 3; n += 1) {
      const text = solanaMessage(wallet, { nonce: `nonce${String(n).padStart(8, '0')}` });
      if (wallet.sign(text)[0] !== 0) continue;
      short += 1;
      expect(await check(solanaHeader(wallet, text))).toMatchObject({ wallet: wallet.address });
    }
  });
});

describe('a Solana proof is refused', () => {
  const message = solanaMessage(wallet);

  it.each<[string, string, object]>([
    ['INVALID_SIGNATURE', 'signed by somebody else', { signature: stranger.signBase58(message) }],
    ['INVALID_SIGNATURE', 'signed over another text', { signature: wallet.signBase58(`${message} `) }],
    ['INVALID_SIGNATURE', 'in hex', { signature: `0x${wallet.sign(message).toString('hex')}` }],
    ['INVALID_SIGNATURE', 'empty', { signature: '' }],
    ['INVALID_SIGNATURE', 'endless', { signature: '1'.repeat(5_000) }],
    ['ADDRESS_MISMATCH', 'in another letter case', { address: wallet.address.toLowerCase() }],
    ['CHAIN_MISMATCH', 'beside an EVM chain', { chainId: 8453 }],
    ['CHAIN_MISMATCH', 'with an EVM type', { type: 'eip191' }],
    ['CHAIN_MISMATCH', 'for devnet', { chainId: 'solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1' }],
    ['INVALID_CHAIN_ID', 'with a bare reference', { chainId: SOLANA.slice('solana:'.length) }],
  ])('%s: %s', async (reason, _, changes) => {
    await expect(check(solanaHeader(wallet, message, changes))).rejects.toMatchObject(refused(reason));
  });

  it.each([
    ['statement', 'Send everything'],
    ['nonce', 'abcdef0123456780'],
    ['uri', 'https://gw.example.com/'],
  ])('when its %s was changed after signing', async (field, value) => {
    await expect(check(structured({ [field]: value }))).rejects.toMatchObject(refused('INVALID_SIGNATURE'));
  });

  it('from a key that everybody can sign for', async () => {
    // The address of Solana's own system program is thirty-two zero bytes, which is a point of order four.
    const everybody = { ...wallet, address: '1'.repeat(32) };
    const text = solanaMessage(everybody);
    const neutral = Buffer.concat([Buffer.from([1]), Buffer.alloc(63)]);
    const header = solanaHeader(everybody, text, { signature: neutral.toString('base64') });
    await expect(check(header)).rejects.toMatchObject(refused('INVALID_SIGNATURE'));
  });

  it('when its text is an Ethereum text that a Solana key signed', async () => {
    const text = messageOf();
    const header = await proofHeader(text, { signature: wallet.signBase58(text), chainId: undefined });
    await expect(check(header)).rejects.toMatchObject(refused('INVALID_SIGNATURE'));
    const mixed = messageOf({ account: 'Solana', address: account.address, chainId: SOLANA.slice(7) });
    await expect(check(await proofHeader(mixed, { chainId: undefined }))).rejects.toMatchObject(
      refused('INVALID_WALLET'),
    );
  });
});
