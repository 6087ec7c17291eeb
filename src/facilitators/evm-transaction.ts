import { type Hex, keccak256, parseTransaction, serializeTransaction } from 'viem';
import { signDigest } from '../lib/secp256k1.ts';
import type { SignedTransaction } from '../ports/sender-store.ts';

/** A contract call to be paid for by our key. */
export interface OutgoingCall {
  to: string;
  data: string;
  gas: bigint;
}

/** What is offered for one unit of gas, in wei. */
export interface Fees {
  maxFeePerGas: bigint;
  maxPriorityFeePerGas: bigint;
}

export interface SigningKey {
  chainId: number;
  /** 0x and 64 hex digits. */
  privateKey: string;
}

const PLAIN_TRANSFER_GAS = 21_000n;

/** Twice the price covers several full blocks; what is not needed is not paid. */
export function offeredFees(gasPrice: bigint): Fees {
  return { maxFeePerGas: gasPrice * 2n, maxPriorityFeePerGas: gasPrice / 10n };
}

/** Fees that nodes take as a replacement, which has to offer a tenth more, and that today's price needs. */
export function raisedFees(old: Fees, gasPrice: bigint): Fees {
  const offered = offeredFees(gasPrice);
  return {
    maxFeePerGas: larger(raised(old.maxFeePerGas), offered.maxFeePerGas),
    maxPriorityFeePerGas: larger(raised(old.maxPriorityFeePerGas), offered.maxPriorityFeePerGas),
  };
}

/** An eighth more, rounded up. */
const raised = (value: bigint): bigint => (value * 9n + 7n) / 8n;

const larger = (a: bigint, b: bigint): bigint => (a > b ? a : b);

/** Signs an EIP-1559 transaction; the same input gives the same bytes. */
export function signTransaction(
  key: SigningKey,
  nonce: bigint,
  call: OutgoingCall,
  fees: Fees,
): SignedTransaction {
  const transaction = {
    type: 'eip1559' as const,
    chainId: key.chainId,
    nonce: Number(nonce),
    to: call.to as Hex,
    data: call.data as Hex,
    gas: call.gas,
    ...fees,
  };
  const digest = keccak256(serializeTransaction(transaction), 'bytes');
  const raw = serializeTransaction(transaction, signDigest(digest, key.privateKey));
  return { nonce, hash: keccak256(raw), raw };
}

/** Reads back what {@link signTransaction} signed. */
export function readTransaction(raw: string): { call: OutgoingCall; fees: Fees } {
  const parsed = parseTransaction(raw as `0x02${string}`);
  return {
    call: { to: parsed.to ?? '0x', data: parsed.data ?? '0x', gas: parsed.gas ?? 0n },
    fees: {
      maxFeePerGas: parsed.maxFeePerGas ?? 0n,
      maxPriorityFeePerGas: parsed.maxPriorityFeePerGas ?? 0n,
    },
  };
}

/** A transfer of nothing to ourselves: it does no more than use up a nonce. */
export function fillerCall(sender: string): OutgoingCall {
  return { to: sender, data: '0x', gas: PLAIN_TRANSFER_GAS };
}
