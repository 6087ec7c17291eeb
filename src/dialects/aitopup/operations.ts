import { createHash } from 'node:crypto';
import type { KeyHolder } from '../../accounts/types.ts';
import { canonicalJson } from '../../lib/canonical-json.ts';
import { toCents } from '../../vouchers/cents.ts';
import { isTransactionId } from '../../vouchers/codes.ts';
import type { SentTopup, TopupName } from '../../vouchers/types.ts';
import { type Answer, answer, CODE, Refusal } from './envelope.ts';
import { IN_PROGRESS_RETRY_SECONDS, MAX_HISTORY } from './limits.ts';
import type { AitopupOptions } from './options.ts';
import {
  readIdempotencyKey,
  readSendOrder,
  readThreshold,
  readTopupName,
  remainingOf,
  STATE_CODES,
  sentBody,
  topupBody,
  walletBody,
} from './wire.ts';

/** What the routes and the MCP tools do alike: each takes a caller and its input and answers an envelope. */
export type Operations = ReturnType<typeof createOperations>;

export function createOperations(options: AitopupOptions) {
  const { sentTopups, clock, amountRange } = options;
  const now = () => clock.nowMs();

  async function send(sender: KeyHolder, body: unknown, idempotencyHeader: unknown): Promise<Answer> {
    const key = readIdempotencyKey(idempotencyHeader);
    const order = readSendOrder(body, amountRange);
    const requestHash = createHash('sha256').update(canonicalJson(body)).digest();
    const outcome = await sentTopups.send(
      sender,
      order,
      key === undefined ? undefined : { key, requestHash },
    );
    switch (outcome.kind) {
      case 'accepted': {
        const { topup, walletNanoUsd } = outcome;
        const sent = answer(STATE_CODES[topup.state], now(), {
          transactionId: topup.transactionId,
          status: topup.state,
          data: sentBody(topup, walletNanoUsd),
        });
        if (key === undefined) return sent;
        const stored = JSON.stringify(sent.envelope);
        await sentTopups.rememberAnswer(sender, key, { status: sent.httpStatus, body: stored });
        return { ...sent, storedBody: stored };
      }
      case 'answered':
        return {
          httpStatus: outcome.answer.status,
          headers: { 'Idempotent-Replayed': 'true' },
          envelope: JSON.parse(outcome.answer.body) as Answer['envelope'],
          storedBody: outcome.answer.body,
        };
      case 'in_progress':
        throw new Refusal(CODE.duplicate, 'a call with this Idempotency-Key is at work', 'in_progress', {
          headers: { 'Retry-After': String(IN_PROGRESS_RETRY_SECONDS) },
        });
      case 'key_reused':
        throw new Refusal(
          CODE.duplicate,
          'this Idempotency-Key was used for another request',
          'idempotency_key_reused',
        );
      case 'duplicate_reference':
        throw new Refusal(CODE.duplicate, 'this reference was used already', 'duplicate_reference', {
          transactionId: outcome.topup.transactionId,
          status: outcome.topup.state,
          field: 'reference',
        });
      case 'over_cap':
        throw overCap();
      default:
        throw insufficient();
    }
  }

  async function validate(sender: KeyHolder, body: unknown): Promise<Answer> {
    const order = readSendOrder(body, amountRange);
    const name = order.reference === undefined ? undefined : { reference: order.reference };
    const known = name && (await sentTopups.find(sender, name));
    if (known) {
      throw new Refusal(CODE.duplicate, 'this reference was used already', 'duplicate_reference', {
        transactionId: known.transactionId,
        status: known.state,
        field: 'reference',
      });
    }
    const wallet = await sentTopups.wallet(sender);
    const { capNanoUsd, spentNanoUsd } = wallet.key;
    if (capNanoUsd !== undefined && order.amountNanoUsd > remainingOf(capNanoUsd, spentNanoUsd))
      throw overCap();
    if (order.amountNanoUsd > wallet.availableNanoUsd) throw insufficient();
    return answer(CODE.done, now(), {
      data: {
        valid: true,
        platform: order.platform,
        amount_cents: toCents(order.amountNanoUsd),
        wallet_balance_cents: toCents(wallet.availableNanoUsd),
        wallet_balance_after_cents: toCents(wallet.availableNanoUsd - order.amountNanoUsd),
      },
    });
  }

  async function cancel(sender: KeyHolder, body: unknown): Promise<Answer> {
    const outcome = await sentTopups.cancel(sender, readTopupName(body));
    if (outcome.kind === 'not_found') throw unknownTransaction();
    const { topup } = outcome;
    const named = { transactionId: topup.transactionId, status: topup.state };
    if (outcome.kind === 'too_late') {
      const isPending = topup.state === 'pending';
      const message = isPending ? 'the top-up is being delivered' : `the top-up is ${topup.state} already`;
      const reason = isPending ? 'delivery_in_progress' : `already_${topup.state}`;
      throw new Refusal(CODE.cannotCancel, message, reason, named);
    }
    const data = {
      ...topupBody(topup),
      refunded_cents: toCents(topup.amountNanoUsd),
      wallet_balance_cents: toCents(outcome.walletNanoUsd),
    };
    return answer(CODE.cancelled, now(), { ...named, data });
  }

  async function status(sender: KeyHolder, name: TopupName): Promise<Answer> {
    const topup = await sentTopups.find(sender, name);
    if (!topup) throw unknownTransaction();
    return answer(STATE_CODES[topup.state], now(), {
      transactionId: topup.transactionId,
      status: topup.state,
      data: topupBody(topup),
    });
  }

  async function history(sender: KeyHolder, query: Record<string, unknown>): Promise<Answer> {
    const limit = readPageSize(query['limit'], MAX_HISTORY, MAX_HISTORY);
    const found = await sentTopups.list(sender, { limit, before: readPageStart(query['before']) });
    const transactions = found.map(historyEntry);
    return answer(CODE.done, now(), { data: { transactions, count: transactions.length } });
  }

  return {
    send,
    validate,
    cancel,
    status,
    history,
    async balance(sender: KeyHolder): Promise<Answer> {
      const wallet = await sentTopups.wallet(sender);
      return answer(CODE.done, now(), { data: walletBody(wallet, sender.environment) });
    },
    async setThreshold(sender: KeyHolder, body: unknown): Promise<Answer> {
      const below = readThreshold(body);
      await sentTopups.setAlert(sender, below);
      const threshold = below === undefined ? null : toCents(below);
      return answer(CODE.done, now(), { data: { threshold_cents: threshold } });
    },
  };
}

function historyEntry(topup: SentTopup) {
  return { transaction_id: topup.transactionId, status: topup.state, ...topupBody(topup) };
}

/** @throws Refusal 2000 */
export function readPageSize(value: unknown, fallback: number, max: number): number {
  if (value === undefined) return fallback;
  const size = typeof value === 'string' && /^\d{1,4}$/.test(value) ? Number(value) : 0;
  if (size >= 1 && size <= max) return size;
  throw new Refusal(CODE.malformed, `limit must be a number from 1 to ${max}`, 'malformed_request', {
    field: 'limit',
  });
}

/** @throws Refusal 2000 */
function readPageStart(value: unknown): string | undefined {
  if (value === undefined || (typeof value === 'string' && isTransactionId(value))) return value;
  throw new Refusal(CODE.malformed, 'before must be the id of a transaction', 'malformed_request', {
    field: 'before',
  });
}

function overCap(): Refusal {
  return new Refusal(CODE.insufficient, 'the spending cap of this key is used up', 'key_cap');
}

function insufficient(): Refusal {
  return new Refusal(CODE.insufficient, 'the wallet does not hold enough', 'wallet_balance');
}

function unknownTransaction(): Refusal {
  return new Refusal(CODE.unknownTransaction, 'there is no such transaction', 'unknown_transaction');
}
