import { privateKeyToAccount } from 'viem/accounts';
import { describe, expect, it } from 'vitest';
import { checkWalletMessage } from '../../../src/customers/wallet-message.ts';
import { createWalletSignatures } from '../../../src/customers/wallet-signatures.ts';
import { messageOf as signInMessage } from '../siwx/signed-proof.ts';

const account = privateKeyToAccount(`0x${'11'.repeat(32)}`);
const stranger = privateKeyToAccount(`0x${'22'.repeat(32)}`);
const WALLET = account.address.toLowerCase();
const NOW_MS = Date.UTC(2026, 10, 20, 9, 32, 0);
const checks = {
  chain: 'eip155:8453',
  domains: ['dria.example', '127.0.0.1'],
  nowMs: NOW_MS,
  signatures: createWalletSignatures([]),
};

const iso = (offsetMs: number) => new Date(NOW_MS + offsetMs).toISOString();

function messageOf(changes: { first?: string; issuedAt?: string; nonce?: string } = {}) {
  const { first = `dria.example wants wallet ${account.address} to obtain an API key` } = changes;
  return `${first}\nIssued At: ${changes.issuedAt ?? iso(-60_000)}\nNonce: ${changes.nonce ?? '8f2a61c0'}`;
}

const signInText = (lines: Parameters<typeof signInMessage>[0]) =>
  signInMessage({ address: account.address, issuedAt: iso(-60_000), expirationTime: undefined, ...lines });

async function check(message: string, changes: { address?: string; signer?: typeof account } = {}) {
  const { address = account.address, signer = account } = changes;
  const signature = await signer.signMessage({ message });
  return checkWalletMessage({ address, message, signature }, checks);
}

const refused = (reason: string) => ({ code: 'proof_invalid', details: { reason } });

describe("a wallet's message", () => {
  it('proves the wallet', async () => {
    const { wallet, nonce } = await check(messageOf());
    expect(wallet).toBe(WALLET);
    expect(nonce).toMatch(/^text:[0-9a-f]{64}$/);
  });

  it('has one name, which other words and other wallets do not share with it', async () => {
    const { nonce } = await check(messageOf());
    expect((await check(messageOf())).nonce).toBe(nonce);
    expect((await check(messageOf({ nonce: '8f2a61c1' }))).nonce).not.toBe(nonce);
  });

  it.each([
    `DRIA.example: key for ${account.address}`,
    `https://dria.example/v1 wants wallet ${account.address} to obtain an API key`,
    `dria.example:443 wants wallet ${account.address} to obtain an API key`,
    `127.0.0.1:4020 makes an API key for ${WALLET}`,
    `dria.example\nKey for "${account.address.toUpperCase().replace('0X', '0x')}"`,
  ])('may be worded freely once it has named us: %s', async first => {
    expect(await check(messageOf({ first }))).toMatchObject({ wallet: WALLET });
  });

  it.each([
    `evil.example wants wallet ${account.address} to obtain an API key`,
    `evil.example wants a key for: ${account.address}\ndria.example`,
    `dria.example.evil.example wants wallet ${account.address}`,
    `notdria.example wants wallet ${account.address}`,
    `dria.example@evil.example wants wallet ${account.address}`,
    `https://evil.example/dria.example wants wallet ${account.address}`,
    `evil.example?dria.example wants wallet ${account.address}`,
    `Key for ${account.address}`,
    `Key for ${account.address} at dria.example`,
    `evil.example, a friend of dria.example, wants wallet ${account.address} to obtain an API key`,
    `"dria.example" wants wallet ${account.address} to obtain an API key`,
    ` dria.example wants wallet ${account.address} to obtain an API key`,
    `\ndria.example wants wallet ${account.address} to obtain an API key`,
    `dria.example,evil.example wants wallet ${account.address} to obtain an API key`,
    `dria.example:443@evil.example wants wallet ${account.address} to obtain an API key`,
    `https://dria.example:443@evil.example wants wallet ${account.address} to obtain an API key`,
  ])('must begin with our host: %s', async first => {
    await expect(check(messageOf({ first }))).rejects.toMatchObject(refused('DOMAIN_MISMATCH'));
  });

  it.each([
    signInText({ domain: 'dria.example' }),
    signInText({ domain: 'dria.example', statement: `Link with eip155:8453:${WALLET}` }),
    signInText({ domain: 'dria.example', statement: undefined, chainId: '1', uri: undefined }),
    signInText({ domain: 'DRIA.example', account: 'Solana' }),
    // Others read these as sign-ins.
    `${signInText({ domain: 'dria.example' })}\n`,
    signInText({ domain: 'dria.example' }).replaceAll('\n', '\r\n'),
    messageOf({ first: `dria.example wants you to sign in with your Ethereum account: ${WALLET}` }),
  ])('is no sign-in: %s', async message => {
    await expect(check(message)).rejects.toMatchObject(refused('INVALID_MESSAGE'));
  });

  it.each([
    'dria.example wants a wallet to obtain an API key',
    `dria.example wants wallet ${stranger.address} to obtain an API key`,
    `dria.example wants wallet ${account.address}0 to obtain an API key`,
  ])('must name the wallet: %s', async first => {
    await expect(check(messageOf({ first }))).rejects.toMatchObject(refused('ADDRESS_MISMATCH'));
  });

  it.each([
    [-300_001, 'EXPIRED'],
    [30_001, 'FUTURE_TIMESTAMP'],
  ])('is refused when issued %i ms from now', async (offsetMs, reason) => {
    await expect(check(messageOf({ issuedAt: iso(offsetMs) }))).rejects.toMatchObject(refused(reason));
  });

  it.each([-300_000, 0, 30_000])('is good when issued %i ms from now', async offsetMs => {
    expect(await check(messageOf({ issuedAt: iso(offsetMs) }))).toMatchObject({ wallet: WALLET });
  });

  it.each(['yesterday', '2026-11-20', '2026-11-20T09:31:00', '2026-13-40T99:99:99Z'])(
    'must say when, in a time zone: %s',
    async issuedAt => {
      await expect(check(messageOf({ issuedAt }))).rejects.toMatchObject(refused('INVALID_MESSAGE'));
    },
  );

  it('must be signed by the wallet itself, over these very words', async () => {
    await expect(check(messageOf(), { signer: stranger })).rejects.toMatchObject(
      refused('INVALID_SIGNATURE'),
    );
    const signature = await account.signMessage({ message: messageOf() });
    const message = messageOf({ nonce: '8f2a61c1' });
    await expect(
      checkWalletMessage({ address: account.address, message, signature }, checks),
    ).rejects.toMatchObject(refused('INVALID_SIGNATURE'));
  });
});
