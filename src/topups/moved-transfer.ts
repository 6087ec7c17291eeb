import { sleep, withDeadline } from '../lib/deadline.ts';
import type { Chain, ObservedTransfer, SettlementProof } from '../ports/chain.ts';
import type { OwnTransactions, SettleResult } from '../ports/facilitator.ts';
import type { ExactPayment } from '../ports/payment.ts';
import { addTo, type Trace } from './settlement.ts';

/** A payment whose transfer was in a block that is not part of the chain any more. */
export interface MovedPayment {
  signed: ExactPayment;
  fromBlock: bigint;
  /** The transaction that brought the money. */
  transaction: string | undefined;
  /** What its facilitator remembers of it. */
  own(): Promise<OwnTransactions>;
  /** Gives it to the chain again. */
  send(): Promise<SettleResult>;
}

const LOOK_TIMEOUT_MS = 10_000;
const POLL_MS = 200;

/**
 * Gives what was sent before to the node again and waits for it.
 * @param graceMs how long a transfer that is gone may take to come back
 * @returns the transfer; undefined when the chain shows that the permission is unused; `unknown` otherwise.
 * @throws GatewayError `unavailable` when the node does not answer
 */
export async function findMoved(
  payment: MovedPayment,
  chain: Chain,
  graceMs: number,
): Promise<ObservedTransfer | 'unknown' | undefined> {
  const { signed, fromBlock, transaction: named } = payment;
  const own = await payment.own();
  const reported = named === undefined || own.all.includes(named) ? [] : [named];
  let trace: Trace = { transactions: own.all, reported };
  const prove = (where: Trace): Promise<SettlementProof> =>
    withDeadline('proof', LOOK_TIMEOUT_MS, chain.proveSettlement(signed, { ...where, fromBlock }));
  const deadlineMs = performance.now() + graceMs;
  for (let round = 0; ; round += 1) {
    const proof = await prove(trace);
    if (proof.kind === 'transferred') return proof.transfer;
    if (performance.now() > deadlineMs) break;
    if (round === 0) trace = addTo(trace, await payment.send());
    await sleep(POLL_MS);
  }
  // Not by any transaction that is known; somebody else's would have used the permission up.
  const proof = await prove({ transactions: [] });
  if (proof.kind === 'transferred') return proof.transfer;
  return proof.kind === 'unknown' && proof.used ? 'unknown' : undefined;
}
