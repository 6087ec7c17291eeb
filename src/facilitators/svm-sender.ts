import type { Clock } from '../lib/clock.ts';
import { encodeBase58 } from '../lib/svm-address.ts';
import type { SvmKey } from '../lib/svm-key.ts';
import { withFeePayerSignature } from '../lib/svm-transaction.ts';
import type { OwnTransactions, SettleResult } from '../ports/facilitator.ts';
import type { SvmClient } from '../ports/svm-client.ts';
import type { SvmLiveTransaction, SvmSenderStore, SvmSignedTransaction } from '../ports/svm-sender-store.ts';

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
/** The statuses of so many are asked for in one call. */
const MAX_PER_PAGE = 200;
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

  /** Sends again what no block has, and finishes what needs no care any more. @returns how many these were */
  async function maintainPage(page: readonly SvmLiveTransaction[], deadlineMs: number): Promise<number> {
    if (page.length === 0) return 0;
    const signatures = page.map(({ signature }) => signature);
    const { statuses } = await client.signatureStatuses(signatures, false);
    const isOver = (index: number, ageMs: number) =>
      statuses[index]?.commitment === 'finalized' || ageMs > SEND_FOR_MS;
    const over = page.filter(({ ageMs }, index) => isOver(index, ageMs));
    if (over.length > 0)
      await store.finish(
        client.network,
        over.map(({ signature }) => signature),
      );
    for (const [index, { wire, ageMs }] of page.entries()) {
      if (performance.now() > deadlineMs) break;
      if (statuses[index] || isOver(index, ageMs)) continue;
      await client.send(Buffer.from(wire, 'base64')).catch(() => undefined);
    }
    return over.length;
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
      let waiting = 0;
      while (performance.now() < deadlineMs) {
        const page = await store.listLive(client.network, { limit: MAX_PER_PAGE, skip: waiting });
        const over = await maintainPage(page, deadlineMs);
        // Who was signed later than a whole page of those that still wait does so, too.
        if (page.length < MAX_PER_PAGE || over === 0) return;
        waiting += page.length - over;
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
