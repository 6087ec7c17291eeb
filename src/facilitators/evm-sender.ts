import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import type { EvmClient } from '../ports/evm-client.ts';
import type { SettleResult } from '../ports/facilitator.ts';
import type { SenderStore, SignedTransaction, StoredTransaction } from '../ports/sender-store.ts';
import { createGasPrice } from './evm-gas-price.ts';
import { createSigningQueue } from './evm-signing-queue.ts';
import { type OutgoingCall, offeredFees, type SigningKey, signTransaction } from './evm-transaction.ts';
import { createSenderMaintenance } from './sender-maintenance.ts';

/** What one more transaction would find. */
export interface SenderCapacity {
  /** Transactions that are signed and not mined, and the age of the oldest. */
  waiting: number;
  oldestMs: number;
  /** Gas that the balance can pay for at what would be offered now. */
  affordableGas: bigint;
}

/** Sends transactions of one key on one network and never loses a hash. */
export interface EvmSender {
  readonly address: string;
  /**
   * Signs, stores and sends; a payment has one live transaction however often this is called.
   * @throws OtherSenderError when another key has signed the payment
   */
  send(paymentId: string, call: OutgoingCall): Promise<SettleResult>;
  /** One round of care for what was stored and is not mined. */
  maintain(): Promise<void>;
  /** At most a second old. @throws unavailable when the node or the database does not answer. */
  capacity(): Promise<SenderCapacity>;
  /** Drops what this process remembers; the next nonce is read again. */
  forget(): void;
}

export interface EvmSenderOptions extends SigningKey {
  client: EvmClient;
  store: SenderStore;
  address: string;
  /** A higher gas price, in wei, is not believed. */
  maxGasPriceWei: bigint;
  clock: Clock;
}

/** The payment's live transaction is signed by another key, which alone can look after it. */
export class OtherSenderError extends Error {
  constructor(readonly transaction: StoredTransaction) {
    super('another key has signed this payment');
    this.name = 'OtherSenderError';
  }
}

/** What one payment may wait for before the next one gets its turn. */
const CHAIN_READ_TIMEOUT_MS = 5_000;

const CAPACITY_MAX_AGE_MS = 1_000;

/**
 * Order of events: guess the nonce, sign, store hash and bytes under the database's nonce lock, send. A
 * crash before the store leaves nothing that could be on the chain; a crash after it leaves the bytes to be
 * sent again. Inside one process the guesses are made in turn, so they rarely miss; the chain is never asked
 * while others wait for their turn.
 */
export function createEvmSender(options: EvmSenderOptions): EvmSender {
  const { client, store, clock, address } = options;
  const key = { network: client.network, sender: address };
  const signing = { chainId: options.chainId, privateKey: options.privateKey };
  const gasPrice = createGasPrice(client, clock, options.maxGasPriceWei);
  const maintenance = createSenderMaintenance({ client, store, clock, key, signing, gasPrice });
  const queue = createSigningQueue(store, key);
  let capacity: { readAtMs: number; answer: Promise<SenderCapacity> } | undefined;

  const readChain = <T>(work: Promise<T>) => withDeadline('the node', CHAIN_READ_TIMEOUT_MS, work);

  /** What this call has not signed was stored before: by this key, or by another one. */
  async function requireOwn(paymentId: string, found: SignedTransaction): Promise<SignedTransaction> {
    const stored = (await store.findByPayment(paymentId)).find(({ hash }) => hash === found.hash);
    if (stored && stored.sender !== address) throw new OtherSenderError(stored);
    return found;
  }

  async function signOnce(paymentId: string, call: OutgoingCall): Promise<SignedTransaction> {
    const price = await readChain(gasPrice());
    const firstNonce =
      queue.nextNonce() ?? (await store.initialise(key, await readChain(client.transactionCount(address))));
    const made = new Set<string>();
    const request = {
      paymentId,
      sign(nonce: bigint) {
        const transaction = signTransaction(signing, nonce, call, offeredFees(price));
        made.add(transaction.hash);
        return transaction;
      },
    };
    const signed = await queue.sign(request, firstNonce);
    if (!made.has(signed.hash)) await requireOwn(paymentId, signed);
    if (signed.nonce >= maintenance.minedForGood() || !(await isLost(paymentId, signed))) return signed;
    await store.supersede(key, signed);
    return await queue.sign(request, firstNonce);
  }

  /** The nonce is mined, but by none of ours: somebody used the key by hand. */
  async function isLost(paymentId: string, signed: SignedTransaction): Promise<boolean> {
    for (const { nonce, hash } of await store.findByPayment(paymentId)) {
      if (nonce === signed.nonce && (await readChain(client.receipt(hash)))) return false;
    }
    return true;
  }

  async function readCapacity(): Promise<SenderCapacity> {
    const [mined, balance, price] = await readChain(
      Promise.all([client.transactionCount(address), client.balance(address), gasPrice()]),
    );
    const { count, oldestMs } = await store.countLive(key, mined);
    return { waiting: count, oldestMs, affordableGas: balance / offeredFees(price).maxFeePerGas };
  }

  return {
    address,
    async send(paymentId, call) {
      let signed: SignedTransaction;
      try {
        signed = await signOnce(paymentId, call);
      } catch (error) {
        if (error instanceof OtherSenderError) throw error;
        // Whether the bytes were stored is unknown when the database dies here, so this is no proof either way.
        queue.forget();
        return { kind: 'unknown', message: error instanceof Error ? error.message : 'signing failed' };
      }
      // The answer of the node does not matter: a lost answer and "already known" are successes we cannot see.
      await client.sendRawTransaction(signed.raw).catch(() => undefined);
      return { kind: 'submitted', transaction: signed.hash };
    },
    maintain: () => maintenance.round(),
    capacity() {
      const nowMs = clock.nowMs();
      if (capacity === undefined || nowMs - capacity.readAtMs >= CAPACITY_MAX_AGE_MS) {
        capacity = { readAtMs: nowMs, answer: readCapacity() };
      }
      return capacity.answer;
    },
    forget() {
      queue.forget();
      capacity = undefined;
      maintenance.forget();
    },
  };
}
