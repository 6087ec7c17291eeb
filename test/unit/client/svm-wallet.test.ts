import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { SVM_NETWORKS } from '../../../src/chains/svm-networks.ts';
import { createSvmWallet, SolanaNodeError } from '../../../src/client/svm-wallet.ts';
import { UnacceptableOfferError } from '../../../src/client/terms.ts';
import { checkSvmTransaction, isSignedByPayer } from '../../../src/facilitators/svm-rules.ts';
import { encodeBase58 } from '../../../src/lib/svm-address.ts';
import { readSvmKey } from '../../../src/lib/svm-key.ts';
import { findMemos } from '../../../src/lib/svm-memo.ts';
import { readSvmTransaction } from '../../../src/lib/svm-transaction.ts';
import {
  randomAddress,
  randomBlockhash,
  solanaNetwork,
  tokenAccountOf,
} from '../../support/svm-transaction.ts';

const NOW_MS = Date.UTC(2026, 10, 20, 18, 0, 0);
const { usdc, limits } = solanaNetwork();
const [payTo, feePayer] = [randomAddress(), randomAddress()];
const block = { blockhash: randomBlockhash(), lastValidBlockHeight: 1_234n };

/** Seed and public key of test vector 1 of RFC 8032. */
const SECRET =
  '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a';
const key = readSvmKey(encodeBase58(Buffer.from(SECRET, 'hex'))) ?? expect.unreachable();
const wallet = createSvmWallet(key, SVM_NETWORKS, {
  recentBlock: () => Promise.resolve(block),
});

const entry = {
  scheme: 'exact',
  network: 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp',
  amount: '5000000',
  asset: usdc.address,
  payTo,
  maxTimeoutSeconds: 60,
  extra: { name: 'USD Coin', version: '2', feePayer, memo: 'the memo of the offer' },
};

async function sign(extra: object = entry.extra) {
  const signed = await wallet.checkEntry({ ...entry, extra }).sign(12_500_000n, NOW_MS);
  const wire = Buffer.from(String(signed.payload['transaction']), 'base64');
  return { signed, view: readSvmTransaction(Uint8Array.from(wire)) ?? expect.unreachable() };
}

describe('an offer on Solana', () => {
  it('is read under either name of the network', () => {
    for (const network of [entry.network, 'solana']) {
      expect(wallet.checkEntry({ ...entry, network })).toMatchObject({
        network: { network: entry.network },
        payTo,
        maxTimeoutSeconds: 60,
      });
    }
  });

  it.each<[string, object]>([
    ['another scheme', { scheme: 'upto' }],
    ['another network', { network: 'solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1' }],
    ['an EVM network', { network: 'eip155:8453' }],
    ['another mint', { asset: '4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU' }],
    ['a mint in other letters', { asset: usdc.address.toLowerCase() }],
    ['no receiver', { payTo: undefined }],
    ['a receiver on another chain', { payTo: '0x52908400098527886E0F7030069857D2E4169EE7' }],
    ['the payer as receiver', { payTo: wallet.address }],
    ['the mint as receiver', { payTo: usdc.address }],
    ['nobody as receiver', { payTo: '1'.repeat(32) }],
    ['no fee payer', { extra: { memo: 'x' } }],
    ['no extra', { extra: null }],
    ['a fee payer that is no address', { extra: { feePayer: 'somebody' } }],
    ['the payer as fee payer', { extra: { feePayer: wallet.address } }],
    ['the payer’s token account as fee payer', { extra: { feePayer: tokenAccountOf(wallet.address) } }],
    ['the receiving token account as fee payer', { extra: { feePayer: tokenAccountOf(payTo) } }],
    ['a memo that is too long', { extra: { feePayer, memo: 'é'.repeat(129) } }],
    ['a memo that is none', { extra: { feePayer, memo: 7 } }],
    ['a time limit that is none', { maxTimeoutSeconds: 0 }],
  ])('with %s is not signed', (_, changes) => {
    expect(() => wallet.checkEntry({ ...entry, ...changes })).toThrow(UnacceptableOfferError);
  });
});

describe('a payment on Solana', () => {
  it('is what our own facilitator signs, at the amount that was asked for', async () => {
    const { signed, view } = await sign();
    expect(await isSignedByPayer(view)).toBe(true);
    const expected = {
      feePayer,
      payer: wallet.address,
      mint: usdc.address,
      tokenProgram: usdc.tokenProgram,
      decimals: usdc.decimals,
      source: tokenAccountOf(wallet.address),
      destination: tokenAccountOf(payTo),
      amountBaseUnits: 12_500_000n,
      memo: 'the memo of the offer',
    };
    expect(checkSvmTransaction(view, expected, limits)).toBeUndefined();
    expect(view.signers).toMatchObject([
      { address: feePayer, signature: undefined },
      { address: wallet.address },
    ]);
    expect(view.blockhash).toBe(block.blockhash);
    expect(signed).toMatchObject({ signedUntilMs: NOW_MS + 120_000, signedUntilBlock: 1_234n });
  });

  it('carries a memo of its own where the offer demands none, so that two are never the same', async () => {
    const memos = await Promise.all([sign({ feePayer }), sign({ feePayer })]);
    const texts = memos.flatMap(({ view }) => findMemos(view));
    expect(texts).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/), expect.stringMatching(/^[0-9a-f]{32}$/)]);
    expect(new Set(texts).size).toBe(2);
  });

  it('fits into a transaction with the longest memo', async () => {
    const memo = randomBytes(128).toString('hex');
    expect(findMemos((await sign({ feePayer, memo })).view)).toEqual([memo]);
  });

  it('is not signed without the node', async () => {
    const alone = createSvmWallet(key, SVM_NETWORKS, {
      recentBlock: () => Promise.reject(new SolanaNodeError('gone')),
    });
    await expect(alone.checkEntry(entry).sign(1n, NOW_MS)).rejects.toThrow(SolanaNodeError);
  });
});
