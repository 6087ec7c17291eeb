import { unavailable } from '../lib/errors.ts';
import type { EvmClient } from '../ports/evm-client.ts';
import type { OwnTransactions, SettleResult } from '../ports/facilitator.ts';
import type { SenderStore } from '../ports/sender-store.ts';
import { type EvmSender, OtherSenderError, type SenderCapacity } from './evm-sender.ts';
import type { OutgoingCall } from './evm-transaction.ts';

/**
 * The gas keys of one network, each a lane with nonces of its own. A lane that is stuck or out of gas takes
 * no new payments; those it has already stay with it, because their bytes are signed.
 */
export interface EvmLanes {
  /** Addresses of all lanes; the first one stands for us in simulations. */
  readonly addresses: readonly [string, ...string[]];
  send(paymentId: string, call: OutgoingCall): Promise<SettleResult>;
  transactionsOf(paymentId: string): Promise<OwnTransactions>;
  /** @throws unavailable when no lane could mine one more transaction of so much gas in time. */
  checkCapacity(gas: bigint): Promise<void>;
  /** One round of care for every lane. @throws the first lane's failure, after all of them. */
  maintain(): Promise<void>;
  forget(): void;
}

export interface EvmLanesOptions {
  client: EvmClient;
  store: SenderStore;
  /** At least one. */
  senders: readonly EvmSender[];
}

/** When a transaction has waited this long, another would only wait behind it. */
const MAX_WAITING_MS = 60_000;

interface Lane {
  sender: EvmSender;
  /** Sends of this process that are under way. */
  sending: number;
  /** What was last read of it; undefined when nothing could be read. */
  capacity: SenderCapacity | undefined;
}

export function createEvmLanes({ client, store, senders }: EvmLanesOptions): EvmLanes {
  const lanes = senders.map((sender): Lane => ({ sender, sending: 0, capacity: undefined }));
  const [first] = lanes;
  if (!first) throw new Error('a network without a gas key has no lanes');
  let turn = 0;

  async function readCapacities(): Promise<PromiseSettledResult<SenderCapacity>[]> {
    const readings = await Promise.allSettled(lanes.map(({ sender }) => sender.capacity()));
    lanes.forEach((lane, index) => {
      const reading = readings[index];
      lane.capacity = reading?.status === 'fulfilled' ? reading.value : undefined;
    });
    return readings;
  }

  /** The lane that works and has least to do; lanes that are equal take turns. */
  function choose(gas: bigint): Lane {
    turn = (turn + 1) % lanes.length;
    const inTurn = [...lanes.slice(turn), ...lanes.slice(0, turn)];
    const working = inTurn.filter(lane => canTake(lane.capacity, gas));
    const candidates = working.length > 0 ? working : inTurn;
    return candidates.reduce((best, lane) => (lane.sending < best.sending ? lane : best));
  }

  async function sendOn(lane: Lane, paymentId: string, call: OutgoingCall): Promise<SettleResult> {
    lane.sending += 1;
    try {
      return await lane.sender.send(paymentId, call);
    } finally {
      lane.sending -= 1;
    }
  }

  /** A payment that was signed before belongs to the lane that signed it. */
  async function sendWhereSigned(
    paymentId: string,
    call: OutgoingCall,
    signed: OtherSenderError,
  ): Promise<SettleResult> {
    const lane = lanes.find(({ sender }) => sender.address === signed.transaction.sender);
    if (lane) return sendOn(lane, paymentId, call);
    // A key that was taken out of the configuration: what it signed is as good as before.
    await client.sendRawTransaction(signed.transaction.raw).catch(() => undefined);
    return { kind: 'submitted', transaction: signed.transaction.hash };
  }

  return {
    addresses: [first.sender.address, ...lanes.slice(1).map(({ sender }) => sender.address)],
    async send(paymentId, call) {
      try {
        return await sendOn(choose(call.gas), paymentId, call);
      } catch (error) {
        if (error instanceof OtherSenderError) return sendWhereSigned(paymentId, call, error);
        throw error;
      }
    },
    async transactionsOf(paymentId) {
      const signed = await store.findByPayment(paymentId);
      const [newest] = signed;
      // An older nonce may be given up, and another key's is another count.
      const live = signed.filter(t => t.nonce === newest?.nonce && t.sender === newest.sender);
      return { all: signed.map(({ hash }) => hash), live: live.map(({ hash }) => hash) };
    },
    async checkCapacity(gas) {
      const readings = await readCapacities();
      if (lanes.some(lane => canTake(lane.capacity, gas))) return;
      const failed = readings.find(reading => reading.status === 'rejected');
      throw unavailable(`settlement on ${client.network}`, failed?.reason);
    },
    async maintain() {
      const rounds = await Promise.allSettled(lanes.map(({ sender }) => sender.maintain()));
      await readCapacities();
      const failed = rounds.find(round => round.status === 'rejected');
      if (failed) throw failed.reason;
    },
    forget() {
      for (const lane of lanes) {
        lane.capacity = undefined;
        lane.sender.forget();
      }
    },
  };
}

/** Every waiting transaction is counted at full price, because the node reserves that much for each. */
function canTake(capacity: SenderCapacity | undefined, gas: bigint): boolean {
  if (!capacity || capacity.oldestMs > MAX_WAITING_MS) return false;
  return capacity.affordableGas >= gas * BigInt(capacity.waiting + 1);
}
