import { randomBytes } from 'node:crypto';
import {
  AccountRole,
  type Address,
  address,
  generateKeyPairSigner,
  getBase58Decoder,
  getBase64EncodedWireTransaction,
  getBase64Encoder,
  getTransactionDecoder,
  type KeyPairSigner,
  lamports,
  SOLANA_ERROR__JSON_RPC__SERVER_ERROR_TRANSACTION_SIGNATURE_VERIFICATION_FAILURE,
  SOLANA_ERROR__TRANSACTION_ERROR__ALREADY_PROCESSED,
  SOLANA_ERROR__TRANSACTION_ERROR__BLOCKHASH_NOT_FOUND,
} from '@solana/kit';
import {
  fetchMint,
  fetchToken,
  getCreateAssociatedTokenIdempotentInstructionAsync,
  getTransferCheckedInstruction,
} from '@solana-program/token';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { LocalSolana } from '../../src/local/solana-chain.ts';
import {
  connectSolana,
  fundedSolanaWallet,
  SOLANA_USDC,
  type SolanaRpc,
  signSolanaPayment,
  signSolanaTransaction,
  solanaRefusal,
  solanaRequirements,
  solanaTokenAccount,
  solanaUsdcBalance,
  startTestSolana,
} from '../support/solana.ts';

const BASE64 = { encoding: 'base64' } as const;
const V0 = { maxSupportedTransactionVersion: 0, encoding: 'json' } as const;
const MEMO_PROGRAM = address('MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr');

let chain: LocalSolana;
let rpc: SolanaRpc;

beforeAll(async () => {
  chain = await startTestSolana();
  rpc = connectSolana(chain);
});

afterAll(() => chain.stop());

async function transferTo(wallet: KeyPairSigner, to: string, amount: bigint) {
  return getTransferCheckedInstruction({
    source: await solanaTokenAccount(wallet.address),
    destination: await solanaTokenAccount(to),
    mint: SOLANA_USDC,
    authority: wallet,
    amount,
    decimals: 6,
  });
}

function memo(text: string) {
  return { programAddress: MEMO_PROGRAM, data: new TextEncoder().encode(text) };
}

async function newReceiver(): Promise<Address> {
  const { address: receiver } = await generateKeyPairSigner();
  await chain.mint(receiver, 0n);
  return receiver;
}

async function confirmed(signature: Parameters<SolanaRpc['getTransaction']>[0]) {
  return vi.waitFor(async () => {
    const found = await rpc.getTransaction(signature, V0).send();
    expect(found).not.toBeNull();
    return found as NonNullable<typeof found>;
  });
}

describe('a local Solana', () => {
  it('carries the name, the mint and the programs of mainnet', async () => {
    expect(await rpc.getGenesisHash().send()).toMatch(/^5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp/);
    expect(await rpc.getHealth().send()).toBe('ok');
    expect((await rpc.getVersion().send())['solana-core']).toMatch(/local/);
    const mint = await fetchMint(rpc, SOLANA_USDC);
    expect(mint.data).toMatchObject({ decimals: 6, isInitialized: true });
    expect(await rpc.getMinimumBalanceForRentExemption(165n).send()).toBe(2_039_280n);
  });

  it.each([0, 'legacy'] as const)('moves tokens by a transaction of version %s', async version => {
    const wallet = await fundedSolanaWallet(chain, 5_000_000n);
    const receiver = await newReceiver();
    const { wire, signature } = await signSolanaTransaction(
      chain,
      wallet,
      [await transferTo(wallet, receiver, 1_250_000n), memo('order 7')],
      { version },
    );
    expect(await rpc.sendTransaction(wire, BASE64).send()).toBe(signature);
    expect(await solanaUsdcBalance(chain, receiver)).toBe(1_250_000n);
    const { meta, slot, blockTime, transaction } = await confirmed(signature);
    expect(meta?.err).toBeNull();
    expect(meta?.preTokenBalances?.map(b => b.uiTokenAmount.amount).toSorted()).toEqual(['0', '5000000']);
    expect(meta?.postTokenBalances?.map(b => b.uiTokenAmount.amount).toSorted()).toEqual([
      '1250000',
      '3750000',
    ]);
    expect(meta?.fee).toBe(5_000n);
    expect((meta?.preBalances[0] ?? 0n) - (meta?.postBalances[0] ?? 0n)).toBe(5_000n);
    expect(Math.abs(Number(blockTime) - Date.now() / 1_000)).toBeLessThan(60);
    expect(transaction.message.accountKeys[0]).toBe(wallet.address);
    const [listed] = await rpc.getSignaturesForAddress(await solanaTokenAccount(receiver)).send();
    expect(listed).toMatchObject({ signature, slot, memo: '[7] order 7', err: null });
  });

  it('creates token accounts by the real program, and a payment to none fails', async () => {
    const wallet = await fundedSolanaWallet(chain, 10n);
    const receiver = (await generateKeyPairSigner()).address;
    const early = await signSolanaTransaction(chain, wallet, [await transferTo(wallet, receiver, 4n)]);
    await solanaRefusal(rpc.sendTransaction(early.wire, BASE64).send());
    const create = await getCreateAssociatedTokenIdempotentInstructionAsync({
      payer: wallet,
      owner: receiver,
      mint: SOLANA_USDC,
    });
    const both = await signSolanaTransaction(chain, wallet, [create, await transferTo(wallet, receiver, 4n)]);
    await rpc.sendTransaction(both.wire, BASE64).send();
    const token = await fetchToken(rpc, await solanaTokenAccount(receiver));
    expect(token.data).toMatchObject({ amount: 4n, owner: receiver, mint: SOLANA_USDC });
    const { value } = await rpc
      .getTokenAccountsByOwner(receiver, { mint: SOLANA_USDC }, { encoding: 'jsonParsed' })
      .send();
    expect(value.map(found => found.account.data.parsed.info.tokenAmount.amount)).toEqual(['4']);
    // Inner instructions of the associated token program are kept.
    expect((await confirmed(both.signature)).meta?.innerInstructions?.[0]?.instructions.length).toBe(4);
  });

  it('gives SOL away', async () => {
    const { address: wallet } = await generateKeyPairSigner();
    const signature = await rpc.requestAirdrop(wallet, lamports(1_500_000_000n)).send();
    expect((await rpc.getBalance(wallet).send()).value).toBe(1_500_000_000n);
    expect((await confirmed(signature)).meta?.err).toBeNull();
  });

  it('takes a transaction once', async () => {
    const wallet = await fundedSolanaWallet(chain, 5n);
    const receiver = await newReceiver();
    const { wire } = await signSolanaTransaction(chain, wallet, [await transferTo(wallet, receiver, 1n)]);
    await rpc.sendTransaction(wire, BASE64).send();
    expect(await solanaRefusal(rpc.sendTransaction(wire, BASE64).send())).toBe(
      SOLANA_ERROR__TRANSACTION_ERROR__ALREADY_PROCESSED,
    );
    // Without preflight it is accepted and comes to nothing.
    await rpc.sendTransaction(wire, { ...BASE64, skipPreflight: true }).send();
    expect(await solanaUsdcBalance(chain, receiver)).toBe(1n);
  });

  it('refuses a blockhash that is unknown, not yet final enough, or expired', async () => {
    const wallet = await fundedSolanaWallet(chain, 5n);
    const receiver = await newReceiver();
    const transfer = await transferTo(wallet, receiver, 1n);
    const blockhash = getBase58Decoder().decode(randomBytes(32)) as never;
    const unknown = await signSolanaTransaction(chain, wallet, [transfer], { blockhash });
    const notFound = SOLANA_ERROR__TRANSACTION_ERROR__BLOCKHASH_NOT_FOUND;
    expect(await solanaRefusal(rpc.sendTransaction(unknown.wire, BASE64).send())).toBe(notFound);
    const { value: latest } = await rpc.getLatestBlockhash().send();
    const young = await signSolanaTransaction(chain, wallet, [transfer], { blockhash: latest.blockhash });
    const strict = rpc.sendTransaction(young.wire, { ...BASE64, preflightCommitment: 'finalized' }).send();
    expect(await solanaRefusal(strict)).toBe(notFound);
    expect((await rpc.isBlockhashValid(latest.blockhash).send()).value).toBe(true);

    const height = await rpc.getBlockHeight({ commitment: 'processed' }).send();
    expect(latest.lastValidBlockHeight - height).toBeLessThanOrEqual(150n);
    await chain.advanceSlots(152);
    expect(await rpc.getBlockHeight({ commitment: 'confirmed' }).send()).toBeGreaterThan(
      latest.lastValidBlockHeight,
    );
    expect((await rpc.isBlockhashValid(latest.blockhash).send()).value).toBe(false);
    expect(await solanaRefusal(rpc.sendTransaction(young.wire, BASE64).send())).toBe(notFound);
    await rpc.sendTransaction(young.wire, { ...BASE64, skipPreflight: true }).send();
    expect(await solanaUsdcBalance(chain, receiver)).toBe(0n);
    expect((await rpc.getSignatureStatuses([young.signature]).send()).value).toEqual([null]);
  });

  it('simulates a payment that lacks the fee payer, and does not run it', async () => {
    const wallet = await fundedSolanaWallet(chain, 5_000_000n);
    const feePayer = await fundedSolanaWallet(chain, 0n);
    const receiver = await newReceiver();
    const order = { payTo: receiver, feePayer: feePayer.address, amountBaseUnits: 5_000_000n, memo: 'offer' };
    const payment = await signSolanaPayment(chain, wallet, solanaRequirements(order));
    const wire = payment.payload['transaction'] as typeof signed;
    const { value } = await rpc.simulateTransaction(wire, BASE64).send();
    expect(value.err).toBeNull();
    expect(await solanaUsdcBalance(chain, receiver)).toBe(0n);
    const verification = SOLANA_ERROR__JSON_RPC__SERVER_ERROR_TRANSACTION_SIGNATURE_VERIFICATION_FAILURE;
    expect(await solanaRefusal(rpc.sendTransaction(wire, BASE64).send())).toBe(verification);
    const checked = rpc.simulateTransaction(wire, { ...BASE64, sigVerify: true }).send();
    expect(await solanaRefusal(checked)).toBe(verification);
    const decoded = getTransactionDecoder().decode(getBase64Encoder().encode(wire));
    const [own] = await feePayer.signTransactions([decoded as never]);
    const signed = getBase64EncodedWireTransaction({
      ...decoded,
      signatures: { ...decoded.signatures, ...own },
    });
    const signature = await rpc.sendTransaction(signed, BASE64).send();
    expect(await solanaUsdcBalance(chain, receiver)).toBe(5_000_000n);
    const { meta } = await confirmed(signature);
    // Two signatures and the client's priority fee of one microlamport for each of 20,000 units.
    expect(meta?.fee).toBe(10_001n);
    expect((meta?.preBalances[0] ?? 0n) - (meta?.postBalances[0] ?? 0n)).toBe(10_001n);
  });

  it('records a transaction that fails on chain, and takes its fee', async () => {
    const wallet = await fundedSolanaWallet(chain, 5n);
    const receiver = await newReceiver();
    const { wire, signature } = await signSolanaTransaction(chain, wallet, [
      await transferTo(wallet, receiver, 6n),
    ]);
    await solanaRefusal(rpc.sendTransaction(wire, BASE64).send());
    await rpc.sendTransaction(wire, { ...BASE64, skipPreflight: true }).send();
    const { value } = await rpc.getSignatureStatuses([signature]).send();
    // What the token program calls insufficient funds.
    const custom = { InstructionError: [0n, { Custom: 1n }] };
    expect(value[0]?.err).toEqual(custom);
    const { meta } = await confirmed(signature);
    expect(meta?.err).toEqual(custom);
    expect((meta?.preBalances[0] ?? 0n) - (meta?.postBalances[0] ?? 0n)).toBe(5_000n);
    expect(await solanaUsdcBalance(chain, receiver)).toBe(0n);
  });

  it('lets a transaction age from processed to finalized', async () => {
    const slow = await startTestSolana({ slotMs: 60_000 });
    try {
      const slowRpc = connectSolana(slow);
      const signature = (await slow.mint((await generateKeyPairSigner()).address, 1n)) as never;
      const statusOf = async (searchTransactionHistory: boolean) =>
        (await slowRpc.getSignatureStatuses([signature], { searchTransactionHistory }).send()).value[0];
      const readAt = (commitment: 'confirmed' | 'finalized') =>
        slowRpc.getTransaction(signature, { ...V0, commitment }).send();
      expect(await statusOf(false)).toMatchObject({ confirmationStatus: 'processed', confirmations: 0n });
      expect(await readAt('confirmed')).toBeNull();
      await slow.advanceSlots(1);
      expect(await statusOf(false)).toMatchObject({ confirmationStatus: 'confirmed', confirmations: 1n });
      expect(await readAt('confirmed')).not.toBeNull();
      expect(await readAt('finalized')).toBeNull();
      await slow.advanceSlots(31);
      expect(await statusOf(false)).toMatchObject({ confirmationStatus: 'finalized', confirmations: null });
      expect(await readAt('finalized')).not.toBeNull();
      // Old outcomes are found only by a search of the history.
      await slow.advanceSlots(300);
      expect(await statusOf(false)).toBeNull();
      expect(await statusOf(true)).toMatchObject({ confirmationStatus: 'finalized', err: null });
    } finally {
      await slow.stop();
    }
  });

  it('takes twenty payments at once', async () => {
    const receiver = await newReceiver();
    const wallets = await Promise.all(Array.from({ length: 20 }, () => fundedSolanaWallet(chain, 7n)));
    const signed = await Promise.all(
      wallets.map(async wallet => {
        const transfer = await transferTo(wallet, receiver, 7n);
        return signSolanaTransaction(chain, wallet, [transfer]);
      }),
    );
    const sent = await Promise.all(signed.map(({ wire }) => rpc.sendTransaction(wire, BASE64).send()));
    expect(new Set(sent).size).toBe(20);
    expect(await solanaUsdcBalance(chain, receiver)).toBe(140n);
    const { value } = await rpc.getSignatureStatuses(sent).send();
    expect(value.map(status => status?.err)).toEqual(sent.map(() => null));
  });

  it('shows what accounts held before and after, transaction by transaction', async () => {
    const wallet = await fundedSolanaWallet(chain, 10n);
    const receiver = await newReceiver();
    const held = { of: [10n, 0n], lamports: (await rpc.getBalance(wallet.address).send()).value };
    for (const amount of [1n, 20n, 2n]) {
      const transfer = await transferTo(wallet, receiver, amount);
      const { wire } = await signSolanaTransaction(chain, wallet, [
        transfer,
        memo(randomBytes(8).toString('hex')),
      ]);
      const signature = await rpc.sendTransaction(wire, { ...BASE64, skipPreflight: true }).send();
      const { meta, transaction } = await confirmed(signature);
      const accounts = transaction.message.accountKeys;
      const places = [await solanaTokenAccount(wallet.address), await solanaTokenAccount(receiver)].map(
        each => accounts.indexOf(each),
      );
      const amounts = (balances: NonNullable<typeof meta>['preTokenBalances']) =>
        places.map(place =>
          BigInt(balances?.find(b => b.accountIndex === place)?.uiTokenAmount.amount ?? -1),
        );
      expect(amounts(meta?.preTokenBalances)).toEqual(held.of);
      expect(meta?.preBalances[0]).toBe(held.lamports);
      const moved = meta?.err === null ? amount : 0n;
      expect(moved).toBe(amount === 20n ? 0n : amount);
      held.of = [(held.of[0] ?? 0n) - moved, (held.of[1] ?? 0n) + moved];
      held.lamports = lamports(held.lamports - (meta?.fee ?? 0n));
      expect(amounts(meta?.postTokenBalances)).toEqual(held.of);
      expect(meta?.postBalances[0]).toBe(held.lamports);
    }
  });

  it('fills the faucet up before it runs dry', async () => {
    const most = lamports(10n ** 15n);
    const full = 5n * most;
    const faucet: bigint[] = [];
    for (let gift = 0; gift < 5; gift += 1) {
      const { address: wallet } = await generateKeyPairSigner();
      const { meta } = await confirmed(await rpc.requestAirdrop(wallet, most).send());
      expect((await rpc.getBalance(wallet).send()).value).toBe(most);
      const [before = 0n, after = 0n] = [meta?.preBalances[0], meta?.postBalances[0]];
      expect(after).toBe(before - most - (meta?.fee ?? 0n));
      if (faucet.length > 0 && before !== faucet.at(-1)) expect(before).toBe(full);
      faucet.push(after);
    }
    expect(
      Math.max(...faucet.slice(1).map((after, index) => Number(after - (faucet[index] ?? 0n)))),
    ).toBeGreaterThan(0);
  });

  it('pages through the history of an account', async () => {
    const receiver = await newReceiver();
    for (let i = 0; i < 3; i += 1) await chain.mint(receiver, 1n);
    await chain.advanceSlots(2);
    const account = await solanaTokenAccount(receiver);
    const all = (await rpc.getSignaturesForAddress(account).send()).map(found => found.signature);
    expect(all.length).toBe(4);
    const [newest, second, third, oldest] = all as [never, never, never, never];
    const listed = async (config: object) =>
      (await rpc.getSignaturesForAddress(account, config).send()).map(found => found.signature);
    expect(await listed({ limit: 2 })).toEqual([newest, second]);
    expect(await listed({ before: second })).toEqual([third, oldest]);
    expect(await listed({ until: third })).toEqual([newest, second]);
  });

  it('checks every account that a transaction writes to', async () => {
    const thief = await fundedSolanaWallet(chain, 0n);
    const victim = await fundedSolanaWallet(chain, 9n);
    const theft = getTransferCheckedInstruction({
      source: await solanaTokenAccount(victim.address),
      destination: await solanaTokenAccount(thief.address),
      mint: SOLANA_USDC,
      authority: thief,
      amount: 9n,
      decimals: 6,
    });
    const { wire } = await signSolanaTransaction(chain, thief, [theft]);
    await solanaRefusal(rpc.sendTransaction(wire, BASE64).send());
    const unsigned = { ...theft, accounts: theft.accounts.map(a => ({ ...a, role: AccountRole.WRITABLE })) };
    const { wire: second } = await signSolanaTransaction(chain, thief, [unsigned]);
    await solanaRefusal(rpc.sendTransaction(second, BASE64).send());
    expect(await solanaUsdcBalance(chain, victim.address)).toBe(9n);
  });
});
