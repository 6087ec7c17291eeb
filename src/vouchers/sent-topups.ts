import type { Pool } from 'pg';
import { orUnavailable } from '../db/pg-errors.ts';
import type { CellName } from '../db/queryable.ts';
import { readBalance } from '../ledger/balances.ts';
import { assert } from '../lib/assert.ts';
import { newId } from '../lib/ids.ts';
import type { Sealer } from '../lib/sealed.ts';
import type { DeliveryOutcome, DeliveryProvider, FailureReason } from '../ports/delivery-provider.ts';
import type { Environment } from '../ports/environment.ts';
import type { Log } from '../ports/log.ts';
import { mintTransactionId } from './codes.ts';
import { type Delivered, deliverTopup, HoldLostError } from './deliver.ts';
import { topupPayload } from './event-payload.ts';
import { readSenderWallet, setBalanceAlert } from './sender-wallet.ts';
import {
  type Acceptance,
  acceptTopup,
  claimDueTopups,
  deleteOldAnswers,
  endTopup,
  findTopup,
  listTopups,
  type OwnedTopup,
  postponeTopup,
  readAnswer,
  storeAnswer,
} from './topup-store.ts';
import type {
  CancelOutcome,
  Idempotency,
  SendOrder,
  SendOutcome,
  SentTopups,
  TopupName,
  TopupSender,
} from './types.ts';

export interface SentTopupDeps {
  pool: Pool;
  cells: readonly CellName[];
  sealer: Sealer;
  /** Who delivers what is sent now, in each environment. */
  current: Readonly<Record<Environment, DeliveryProvider>>;
  /** Everybody who may hold top-ups that were sent before: each is asked about its own alone. */
  providers: readonly DeliveryProvider[];
  /** The customer of an account, whose wallet is topped up when no recipient is named. */
  ownerOf: (accountId: bigint) => Promise<string>;
  log: Log;
}

/** A top-up that nobody could deliver for so long has failed. */
const TIMEOUT_MS = 900_000;
/** Beyond the time-out, so that a hold never ends before its top-up, whatever stands still meanwhile. */
const HOLD_MS = 86_400_000;
/** A delivery that a process left behind is taken over after so long; also a call that never answered. */
const LEASE_MS = 30_000;
const CALL_LEASE_MS = 60_000;
const CLAIM_LIMIT = 50;
const FORGET_BATCH = 1_000;
const MAX_FORGET_BATCHES = 1_000;

/** The life of a top-up: accepted with a hold, then delivered, failed or cancelled, once. */
export function createSentTopups(deps: SentTopupDeps): SentTopups & {
  /** Rounds of workers that bring what is due to its end; no provider holds up the top-ups of another. */
  deliverDue: readonly (() => Promise<void>)[];
  forgetOldAnswers(): Promise<void>;
} {
  const { pool, sealer, log } = deps;
  const providers = new Map(deps.providers.map(provider => [provider.name, provider]));

  /** @returns what the provider says, or that it is not known when it broke its promise not to throw */
  async function ask(topup: OwnedTopup, ageMs: number): Promise<DeliveryOutcome> {
    const provider = providers.get(topup.provider);
    if (!provider) {
      const { transactionId } = topup;
      log.error(
        { transactionId, provider: topup.provider },
        'a top-up’s delivery provider is not configured',
      );
      return { kind: 'pending', retryAfterMs: LEASE_MS };
    }
    try {
      return await provider.deliver({ ...topup, ageMs });
    } catch (error) {
      log.error({ transactionId: topup.transactionId, err: error }, 'a delivery provider failed');
      return { kind: 'pending', retryAfterMs: LEASE_MS };
    }
  }

  async function fail(cell: CellName, topup: OwnedTopup, reason: FailureReason): Promise<void> {
    const payload = topupPayload(topup, { refunded: true, reason });
    await endTopup(pool, cell, { ...topup, state: 'failed', reason, unlessAsked: false, payload });
  }

  /** Asks the provider once and does what it says. @returns the delivery, if this was it */
  async function attempt(
    cell: CellName,
    topup: OwnedTopup,
    owner: string,
    ageMs: number,
  ): Promise<Delivered | undefined> {
    const outcome = await ask(topup, ageMs);
    if (outcome.kind === 'delivered') {
      const { newBalanceNanoUsd } = outcome;
      try {
        return await deliverTopup(pool, sealer, cell, { topup, owner, newBalanceNanoUsd });
      } catch (error) {
        if (!(error instanceof HoldLostError)) throw error;
        await fail(cell, topup, 'timeout');
      }
    } else if (outcome.kind === 'failed') {
      await fail(cell, topup, outcome.reason);
    } else if (ageMs + outcome.retryAfterMs > TIMEOUT_MS) {
      if (ageMs >= TIMEOUT_MS) await fail(cell, topup, 'timeout');
      else await postponeTopup(pool, cell, topup.topupId, TIMEOUT_MS - ageMs);
    } else {
      await postponeTopup(pool, cell, topup.topupId, outcome.retryAfterMs);
    }
    return undefined;
  }

  async function send(
    sender: TopupSender,
    order: SendOrder,
    idempotency: Idempotency | undefined,
  ): Promise<SendOutcome> {
    const { cell, customerId } = sender.customer;
    const provider = deps.current[sender.environment];
    const fresh = { topupId: newId(), transactionId: mintTransactionId() };
    const accepted = await acceptTopup(
      pool,
      sender,
      { ...order, ...fresh, provider: provider.name, isOutside: provider.isOutside },
      { idempotency, holdMs: HOLD_MS, leaseMs: LEASE_MS },
    );
    if (accepted.outcome === 'cap') return { kind: 'over_cap' };
    if (accepted.outcome === 'insufficient') return { kind: 'insufficient' };
    if (accepted.outcome !== 'accepted') return answerKnown(sender, accepted, idempotency?.key);
    const walletNanoUsd = BigInt(accepted.available ?? '0');
    const topup = await findTopup(pool, sealer, sender, fresh);
    assert(topup, 'an accepted top-up is there');
    // The money is held, so from here on the caller is told what is known, and the worker does the rest.
    const delivered = await attempt(cell, topup, customerId, 0).catch((error: unknown) => {
      log.error(
        { transactionId: topup.transactionId, err: error },
        'a top-up could not be delivered at once',
      );
      return undefined;
    });
    return {
      kind: 'accepted',
      topup: delivered ? { ...topup, ...delivered, state: 'delivered' } : topup,
      walletNanoUsd,
    };
  }

  /** The answer to a call whose name, or whose reference, was used before. */
  async function answerKnown(
    sender: TopupSender,
    known: Acceptance,
    idempotencyKey = '',
  ): Promise<SendOutcome> {
    if (known.outcome === 'repeated') {
      if (!known.same_request) return { kind: 'key_reused' };
      const answer = readAnswer(sealer, sender, idempotencyKey, known);
      if (answer) return { kind: 'answered', answer };
      if (Number(known.age_ms) < CALL_LEASE_MS) return { kind: 'in_progress' };
    }
    const topup = await findTopup(pool, sealer, sender, { topupId: known.existing ?? '' });
    assert(topup, 'a known top-up is there');
    if (known.outcome === 'duplicate') return { kind: 'duplicate_reference', topup };
    // The process that took the call died before it answered: what became of the top-up is the answer.
    return { kind: 'accepted', topup, walletNanoUsd: await availableOf(sender) };
  }

  async function availableOf({ customer: { cell, accountId } }: TopupSender): Promise<bigint> {
    return (await readBalance(pool, cell, accountId))?.availableNanoUsd ?? 0n;
  }

  async function cancel(sender: TopupSender, name: TopupName): Promise<CancelOutcome> {
    const { cell } = sender.customer;
    const topup = await findTopup(pool, sealer, sender, name);
    if (!topup) return { kind: 'not_found' };
    const payload = topupPayload(topup, { refunded: true });
    const { ended, availableNanoUsd } = await endTopup(pool, cell, {
      topupId: topup.topupId,
      state: 'cancelled',
      reason: undefined,
      unlessAsked: true,
      payload,
    });
    if (ended) {
      return { kind: 'cancelled', topup: { ...topup, state: 'cancelled' }, walletNanoUsd: availableNanoUsd };
    }
    const now = await findTopup(pool, sealer, sender, topup);
    assert(now, 'a top-up does not disappear');
    if (now.state !== 'cancelled') return { kind: 'too_late', topup: now };
    return { kind: 'cancelled', topup: now, walletNanoUsd: await availableOf(sender) };
  }

  /** @param provider undefined for the top-ups of those who are not here any more */
  async function deliverDueIn(cell: CellName, provider: string | undefined): Promise<void> {
    const known = [...providers.keys()];
    const order = { provider, known, limit: CLAIM_LIMIT, leaseMs: LEASE_MS };
    const due = await claimDueTopups(pool, sealer, cell, order);
    await Promise.all(
      due.map(async ({ topup, ageMs }) => {
        const owner = await deps.ownerOf(topup.accountId);
        await attempt(cell, topup, owner, ageMs).catch((error: unknown) =>
          log.error({ transactionId: topup.transactionId, err: error }, 'a top-up could not be delivered'),
        );
      }),
    );
  }

  return {
    send: (sender, order, idempotency) => orUnavailable(send(sender, order, idempotency)),
    rememberAnswer: (sender, key, answer) => orUnavailable(storeAnswer(pool, sealer, sender, key, answer)),
    cancel: (sender, name) => orUnavailable(cancel(sender, name)),
    find: (sender, name) => orUnavailable(findTopup(pool, sealer, sender, name)),
    list: (sender, { limit, before }) => orUnavailable(listTopups(pool, sealer, sender, { limit, before })),
    wallet: sender => orUnavailable(readSenderWallet(pool, sender)),
    setAlert: (sender, below) => orUnavailable(setBalanceAlert(pool, sender, below)),
    deliverDue: [...providers.keys(), undefined].map(provider => async () => {
      for (const cell of deps.cells) await deliverDueIn(cell, provider);
    }),
    async forgetOldAnswers() {
      for (const cell of deps.cells) {
        for (let batch = 0; batch < MAX_FORGET_BATCHES; batch += 1) {
          if ((await deleteOldAnswers(pool, cell, FORGET_BATCH)) < FORGET_BATCH) break;
        }
      }
    },
  };
}
