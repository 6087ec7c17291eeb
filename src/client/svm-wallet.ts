import { associatedTokenAccount, isSvmAddress } from '../lib/svm-address.ts';
import type { SvmKey } from '../lib/svm-key.ts';
import { newMemo } from '../lib/svm-memo.ts';
import { type RecentBlock, signSvmTransfer } from './svm-payment.ts';
import {
  type CheckedEntry,
  checkEntry,
  type KnownNetwork,
  type OfferEntry,
  refuse,
  show,
  type Wallet,
} from './terms.ts';

export interface KnownSvmNetwork extends KnownNetwork {
  /** The mint and the program it belongs to. */
  usdc: KnownNetwork['usdc'] & { tokenProgram: string };
}

export interface SvmWallet extends Wallet {
  family: 'solana';
}

/** The payer's own way to a network: the block in a transaction is never taken from the seller. */
export interface SolanaNode {
  /** @throws SolanaNodeError */
  recentBlock(network: KnownSvmNetwork): Promise<RecentBlock>;
}

/** The node cannot be used; without it nothing is signed. */
export class SolanaNodeError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'SolanaNodeError';
  }
}

/** A block serves for 150 more, a minute at full speed; this leaves room for as many that are left out. */
const BLOCK_LIFETIME_MS = 120_000;

/** The memo's limit in the published client, which leaves room for the rest of the transaction. */
const MAX_MEMO_BYTES = 256;

/** Where nobody has a key; what it received would be lost. */
const SYSTEM_PROGRAM = '1'.repeat(32);

/** A wallet that is one key of Solana; it needs no SOL, because the seller's fee payer pays the fee. */
export function createSvmWallet(
  key: SvmKey,
  networks: readonly KnownSvmNetwork[],
  node: SolanaNode,
): SvmWallet {
  const { address } = key;
  return {
    family: 'solana',
    address,
    networks,
    checkEntry(entry: OfferEntry): CheckedEntry {
      const checked = checkEntry({ entry, networks, payer: address, readAddress });
      const { network, payTo } = checked;
      const { usdc } = network;
      const extra = (entry['extra'] ?? {}) as OfferEntry;
      const memo = readMemo(extra['memo']);
      const feePayer = readAddress(extra['feePayer']);
      // Whoever pays the fee signs the transaction: an account that takes part in it must not be the one.
      const parties = [payTo, address].map(owner =>
        associatedTokenAccount(owner, usdc.address, usdc.tokenProgram),
      );
      if (
        feePayer === undefined ||
        [address, usdc.address, usdc.tokenProgram, ...parties].includes(feePayer)
      ) {
        throw refuse(`the fee payer ${show(extra['feePayer'])}`);
      }
      return {
        ...checked,
        async sign(amountBaseUnits, nowMs) {
          const block = await node.recentBlock(network);
          const transfer = { feePayer, payTo, usdc, amountBaseUnits, memo: memo ?? newMemo() };
          return {
            payload: { transaction: await signSvmTransfer(key, transfer, block) },
            signedUntilMs: nowMs + BLOCK_LIFETIME_MS,
            signedUntilBlock: block.lastValidBlockHeight,
          };
        },
      };
    },
  };
}

function readAddress(value: unknown): string | undefined {
  return typeof value === 'string' && isSvmAddress(value) && value !== SYSTEM_PROGRAM ? value : undefined;
}

/** The text that the seller wants to find in the transaction; its own random one where it wants none. */
function readMemo(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || value === '' || Buffer.byteLength(value) > MAX_MEMO_BYTES) {
    throw refuse(`the memo ${show(value)}`);
  }
  return value;
}
