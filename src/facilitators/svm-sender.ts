import type { Clock } from '../lib/clock.ts';
import { encodeBase58 } from '../lib/svm-address.ts';
import type { SvmKey } from '../lib/svm-key.ts';
import { withFeePayerSignature } from '../lib/svm-transaction.ts';
import type { OwnTransactions, SettleResult } from '../ports/facilitator.ts';
import type { SvmClient } from '../ports/svm-client.ts';
import type { SvmSenderStore, SvmSignedTransaction } from '../ports/svm-sender-store.ts';

export interface SvmSenderOptions {
  client: SvmClient;
  store: SvmSenderStore;
  key: SvmKey;
  clock: Clock;
}

/** What one more transaction would find. */
export interface SvmSenderCapacity {
  /** Transactions that are signed and may still wait for a block. */
  waiting: number;
  lamports: bigint;
}

/** Signs as the fee payer of one network and never loses a signature. */
export interface SvmSender {
  readonly address: string;
  /** Signs, stores and sends; a payment has one transaction however often this is called. */
  send(paymentId: string, transaction: { wire: Uint8Array; message: Uint8Array }): Promise<SettleResult>;
  /** Sends what was stored for a payment, by whatever key it was signed; undefined when nothing was. */
  sendAgain(paymentId: string): Promise<SettleResult | undefined>;
  transactionsOf(paymentId: string): Promise<OwnTransactions>;
  /** One round of care for what was stored and may not be in a block. */
  maintain(): Promise<void>;
  /** At most a second old. @throws unavailable when the node or the database does not answer. */
  capacity(): Promise<SvmSenderCapacity>;
  /** Drops what this process remembers. */
  forget(): void;
}

const CAPACITY_MAX_AGE_MS = 1_000;
const MAX_PER_ROUND = 200;
const ROUND_BUDGET_MS = 5_000;

/**
 * A blockhash lives for 150 blocks, about a minute. Later nothing comes of sending again, except while the
 * network stands still, and then the payment's own reconciliation sends it.
 */
const SEND_FOR_MS = 600_000;

/**
 * Order of events: sign, store signature and bytes, send. A crash before the store leaves nothing that could
 * be on the chain; a crash after it leaves the bytes to be sent again. The same message always gets the same
 * signature from us, so that replicas cannot disagree and nothing has to be locked.
 */
export function createSvmSender({ client, store, key, clock }: SvmSenderOptions): SvmSender {
  const owner = { network: client.network, feePayer: key.address };
  let capacity: { readAtMs: number; answer: Promise<SvmSenderCapacity> } | undefined;

  async function readCapacity(): Promise<SvmSenderCapacity> {
    const [lamports, waiting] = await Promise.all([client.balance(key.address), store.countLive(owner)]);
    return { lamports, waiting };
  }

  async function submit({ signature, wire }: SvmSignedTransaction, signed = false): Promise<SettleResult> {
    // The answer of the node does not matter: a lost answer and "already processed" are successes we cannot see.
    await client.send(Buffer.from(wire, 'base64')).catch(() => undefined);
    return { kind: 'submitted', transaction: signature, ...(signed && { signed }) };
  }

  return {
    address: key.address,
    async send(paymentId, { wire, message }) {
      const bytes = await key.sign(message);
      const signature = encodeBase58(bytes);
      const signed = Buffer.from(withFeePayerSignature(wire, bytes)).toString('base64');
      const stored = await store.store(owner, paymentId, { signature, wire: signed });
      return submit(stored, stored.signature === signature);
    },
    async sendAgain(paymentId) {
      const stored = await store.find(paymentId);
      return stored && submit(stored);
    },
    async transactionsOf(paymentId) {
      const stored = await store.find(paymentId);
      const all = stored ? [stored.signature] : [];
      return { all, live: all };
    },
    async maintain() {
      const deadlineMs = performance.now() + ROUND_BUDGET_MS;
      const waiting = await store.listLive(client.network, MAX_PER_ROUND);
      if (waiting.length === 0) return;
      const { statuses } = await client.signatureStatuses(
        waiting.map(({ signature }) => signature),
        false,
      );
      const isOver = (index: number, ageMs: number) =>
        statuses[index]?.commitment === 'finalized' || ageMs > SEND_FOR_MS;
      const over = waiting.filter(({ ageMs }, index) => isOver(index, ageMs));
      if (over.length > 0)
        await store.finish(
          client.network,
          over.map(({ signature }) => signature),
        );
      for (const [index, { wire, ageMs }] of waiting.entries()) {
        if (performance.now() > deadlineMs) break;
        if (statuses[index] || isOver(index, ageMs)) continue;
        await client.send(Buffer.from(wire, 'base64')).catch(() => undefined);
      }
    },
    capacity() {
      const nowMs = clock.nowMs();
      if (capacity === undefined || nowMs - capacity.readAtMs >= CAPACITY_MAX_AGE_MS) {
        capacity = { readAtMs: nowMs, answer: readCapacity() };
      }
      return capacity.answer;
    },
    forget() {
      capacity = undefined;
    },
  };
}
