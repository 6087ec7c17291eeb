import { type Hex, keccak256, serializeTransaction } from 'viem';
import type { Clock } from '../lib/clock.ts';
import { signDigest } from '../lib/secp256k1.ts';
import type { EvmClient } from '../ports/evm-client.ts';
import type { SettleResult } from '../ports/facilitator.ts';
import type { SenderStore, SignedTransaction } from '../ports/sender-store.ts';

/** A contract call to be paid for by our key. */
export interface OutgoingCall {
  to: string;
  data: string;
  gas: bigint;
}

/** Sends transactions of one key on one network and never loses a hash. */
export interface EvmSender {
  readonly address: string;
  /** Signs, stores and sends; the same payment is signed once however often this is called. */
  send(paymentId: string, call: OutgoingCall): Promise<SettleResult>;
  /** Gives the node again what it should have but does not: everything stored from its next nonce on. */
  rebroadcast(): Promise<number>;
  /** Drops what this process remembers; the next nonce is read again. */
  forget(): void;
}

export interface EvmSenderOptions {
  client: EvmClient;
  store: SenderStore;
  chainId: number;
  address: string;
  /** 0x and 64 hex digits. */
  privateKey: string;
  clock: Clock;
}

/** How long a gas price is believed; twice the price is offered, which covers several full blocks. */
const GAS_PRICE_MAX_AGE_MS = 5_000;

/** A stale nonce means another replica was faster; losing this often in a row means something is wrong. */
const MAX_SIGN_ATTEMPTS = 20;

const MAX_REBROADCAST = 200;

/**
 * Order of events: guess the nonce, sign, store hash and bytes under the database's nonce lock, send. A
 * crash before the store leaves nothing that could be on the chain; a crash after it leaves the bytes to be
 * sent again. Inside one process the guesses are made one after another, so they rarely miss.
 */
export function createEvmSender(options: EvmSenderOptions): EvmSender {
  const { client, store, clock, address } = options;
  const key = { network: client.network, sender: address };
  let nextNonce: bigint | undefined;
  let queue: Promise<unknown> = Promise.resolve();
  let gasPrice = { value: 0n, readAtMs: Number.NEGATIVE_INFINITY };

  async function currentGasPrice(): Promise<bigint> {
    if (clock.nowMs() - gasPrice.readAtMs > GAS_PRICE_MAX_AGE_MS) {
      gasPrice = { value: await client.gasPrice(), readAtMs: clock.nowMs() };
    }
    return gasPrice.value;
  }

  function sign(call: OutgoingCall, nonce: bigint, price: bigint): SignedTransaction {
    const transaction = {
      type: 'eip1559' as const,
      chainId: options.chainId,
      nonce: Number(nonce),
      to: call.to as Hex,
      data: call.data as Hex,
      gas: call.gas,
      maxFeePerGas: price * 2n,
      maxPriorityFeePerGas: price / 10n,
    };
    const digest = keccak256(serializeTransaction(transaction), 'bytes');
    const signature = signDigest(digest, options.privateKey);
    const raw = serializeTransaction(transaction, signature);
    return { nonce, hash: keccak256(raw), raw };
  }

  async function signAndStore(
    paymentId: string,
    call: OutgoingCall,
    price: bigint,
  ): Promise<SignedTransaction> {
    nextNonce ??= await store.initialise(key.network, key.sender, await client.transactionCount(address));
    for (let attempt = 0; attempt < MAX_SIGN_ATTEMPTS; attempt += 1) {
      const signed = sign(call, nextNonce, price);
      const outcome = await store.store({ ...key, paymentId }, signed);
      if (outcome.kind === 'existing') return outcome.transaction;
      if (outcome.kind === 'stored') {
        nextNonce = signed.nonce + 1n;
        return signed;
      }
      nextNonce = outcome.nextNonce;
    }
    throw new Error('another sender takes every nonce of this key');
  }

  /** One signer at a time per process; a failure must not stop the next one. */
  function enqueue<T>(work: () => Promise<T>): Promise<T> {
    const result = queue.then(work, work);
    queue = result.catch(() => undefined);
    return result;
  }

  return {
    address,
    async send(paymentId, call) {
      let signed: SignedTransaction;
      try {
        const price = await currentGasPrice();
        signed = await enqueue(() => signAndStore(paymentId, call, price));
      } catch (error) {
        // Whether the bytes were stored is unknown when the database dies here, so this is no proof either way.
        nextNonce = undefined;
        return { kind: 'unknown', message: error instanceof Error ? error.message : 'signing failed' };
      }
      // The answer of the node does not matter: a lost answer and "already known" are successes we cannot see.
      await client.sendRawTransaction(signed.raw).catch(() => undefined);
      return { kind: 'submitted', transaction: signed.hash };
    },
    async rebroadcast() {
      const chainNonce = await client.transactionCount(address);
      const stored = await store.listFromNonce(key.network, key.sender, chainNonce, MAX_REBROADCAST);
      for (const transaction of stored)
        await client.sendRawTransaction(transaction.raw).catch(() => undefined);
      return stored.length;
    },
    forget() {
      nextNonce = undefined;
    },
  };
}
