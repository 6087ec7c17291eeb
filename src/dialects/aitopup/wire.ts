import { isStorableText } from '../../lib/storable-text.ts';
import type { Environment } from '../../ports/environment.ts';
import { fromCents, toCents } from '../../vouchers/cents.ts';
import type { SenderWallet, SendOrder, SentTopup, TopupName } from '../../vouchers/types.ts';
import type { DeliveryView, EndpointView } from '../../webhooks/webhooks.ts';
import { CODE, type Code, isoSeconds, Refusal } from './envelope.ts';
import { MAX_METADATA, MAX_REFERENCE, PLATFORMS } from './limits.ts';

/** Where JSON becomes money and money JSON: amounts are cents as numbers in this dialect alone. */

type Fields = Readonly<Record<string, unknown>>;

export const CURRENCY = 'USD';

/** How the dialect calls the two environments. */
export const environmentName = (environment: Environment) => (environment === 'live' ? 'live' : 'staging');

function malformed(message: string, field: string): Refusal {
  return new Refusal(CODE.malformed, message, 'malformed_request', { field });
}

/** @throws Refusal 2000 for everything that is not a JSON object */
export function readObject(body: unknown): Fields {
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as Fields;
  throw new Refusal(CODE.malformed, 'the body must be a JSON object', 'malformed_request');
}

function optionalText(fields: Fields, name: string, maxLength: number): string | undefined {
  const value = fields[name];
  if (value === undefined || value === null) return undefined;
  const isText = typeof value === 'string' && value.length > 0 && value.length <= maxLength;
  if (!isText || !isStorableText(value)) {
    throw malformed(`${name} must be a text of 1 to ${maxLength} characters`, name);
  }
  return value;
}

function readMetadata(value: unknown): Record<string, string> {
  if (value === undefined || value === null) return {};
  const { members, nameLength, valueLength } = MAX_METADATA;
  const entries = typeof value === 'object' && !Array.isArray(value) ? Object.entries(value) : undefined;
  const isValid = entries?.every(
    ([name, text]) =>
      name.length <= nameLength &&
      typeof text === 'string' &&
      text.length <= valueLength &&
      isStorableText(name + text),
  );
  if (!entries || !isValid || entries.length > members) {
    throw malformed(`metadata must be an object of at most ${members} texts`, 'metadata');
  }
  return Object.fromEntries(entries) as Record<string, string>;
}

function readPlatform(value: unknown): string {
  const platform = typeof value === 'string' ? value.trim().toLowerCase() : '';
  if ((PLATFORMS as readonly string[]).includes(platform)) return platform;
  throw new Refusal(CODE.platform, `platform must be one of ${PLATFORMS.join(', ')}`, 'unknown_platform', {
    field: 'platform',
  });
}

/** @returns nano-USD */
export function readAmount(
  value: unknown,
  { minCents, maxCents }: { minCents: number; maxCents: number },
): bigint {
  const refuse = (reason: string) =>
    new Refusal(CODE.amount, `amount_cents must be an integer from ${minCents} to ${maxCents}`, reason, {
      field: 'amount_cents',
    });
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw refuse('invalid_amount');
  if (value < minCents) throw refuse('amount_too_low');
  if (value > maxCents) throw refuse('amount_too_high');
  return fromCents(value);
}

const MAX_EMAIL = 254;
/** No control characters and no halves of characters, as well as nothing that would have to be quoted. */
const EMAIL =
  /^[^\s\p{Cc}\p{Cs}@"(),:;<>[\]\\]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}$/u;

function readEmail(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  const email = typeof value === 'string' ? value.trim() : '';
  // Its wallet is named in small letters, and a few capitals have longer ones.
  const length = Math.max(email.length, email.toLowerCase().length);
  if (length <= MAX_EMAIL && EMAIL.test(email)) return email;
  throw new Refusal(CODE.email, 'recipient_email is not an e-mail address', 'invalid_email', {
    field: 'recipient_email',
  });
}

/** Reads a top-up in the order of the contract: form (2000), platform, amount, e-mail. */
export function readSendOrder(body: unknown, range: { minCents: number; maxCents: number }): SendOrder {
  const fields = readObject(body);
  const reference = optionalText(fields, 'reference', MAX_REFERENCE);
  const metadata = readMetadata(fields['metadata']);
  const platform = readPlatform(fields['platform']);
  const amountNanoUsd = readAmount(fields['amount_cents'], range);
  return {
    platform,
    amountNanoUsd,
    recipientEmail: readEmail(fields['recipient_email']),
    reference,
    metadata,
  };
}

const IDEMPOTENCY_KEY = /^[\x20-\x7e]{1,255}$/;

export function readIdempotencyKey(header: unknown): string | undefined {
  if (header === undefined) return undefined;
  if (typeof header === 'string' && IDEMPOTENCY_KEY.test(header)) return header;
  throw new Refusal(
    CODE.malformed,
    'Idempotency-Key must be 1 to 255 printable ASCII characters',
    'invalid_idempotency_key',
    { field: 'Idempotency-Key' },
  );
}

/** A transaction by its id or by the caller's own reference. */
export function readTopupName(body: unknown): TopupName {
  const fields = readObject(body);
  const { transaction_id: transactionId } = fields;
  if (typeof transactionId === 'string') return { transactionId };
  const reference =
    transactionId === undefined ? optionalText(fields, 'reference', MAX_REFERENCE) : undefined;
  if (reference !== undefined) return { reference };
  throw malformed('transaction_id must be a text', 'transaction_id');
}

/** Nano-USD, or undefined to switch the alert off. */
export function readThreshold(body: unknown): bigint | undefined {
  const value = readObject(body)['threshold_cents'];
  if (value === null) return undefined;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= 1e11)
    return fromCents(value);
  throw malformed('threshold_cents must be a whole number of cents, or null', 'threshold_cents');
}

/** Code of the answer that tells a top-up's state. */
export const STATE_CODES = {
  delivered: CODE.delivered,
  pending: CODE.pending,
  cancelled: CODE.cancelled,
  failed: CODE.done,
} as const satisfies Record<SentTopup['state'], Code>;

/** The transaction object of status and history. */
export function topupBody(topup: SentTopup) {
  const isOver = topup.state === 'failed' || topup.state === 'cancelled';
  return {
    voucher_code: topup.voucherCode ?? null,
    platform: topup.platform,
    amount_cents: toCents(topup.amountNanoUsd),
    new_balance_cents: topup.newBalanceNanoUsd === undefined ? null : toCents(topup.newBalanceNanoUsd),
    recipient_email: topup.recipientEmail ?? null,
    currency: CURRENCY,
    reference: topup.reference ?? null,
    metadata: topup.metadata,
    environment: environmentName(topup.environment),
    failure_reason: topup.failureReason ?? null,
    refunded_cents: isOver ? toCents(topup.amountNanoUsd) : null,
    created_at: isoSeconds(topup.createdAt),
    updated_at: isoSeconds(topup.updatedAt),
  };
}

/** `data` of send. */
export function sentBody(topup: SentTopup, walletNanoUsd: bigint) {
  const { failure_reason: _, refunded_cents: __, updated_at: ___, ...body } = topupBody(topup);
  return { ...body, wallet_balance_cents: toCents(walletNanoUsd) };
}

export function walletBody(wallet: SenderWallet, environment: Environment) {
  const { keyId, capNanoUsd, spentNanoUsd, resetsAt } = wallet.key;
  const left = capNanoUsd === undefined ? undefined : remainingOf(capNanoUsd, spentNanoUsd);
  return {
    balance_cents: toCents(wallet.availableNanoUsd),
    held_cents: toCents(wallet.heldNanoUsd),
    currency: CURRENCY,
    environment: environmentName(environment),
    low_balance_threshold_cents:
      wallet.alertBelowNanoUsd === undefined ? null : toCents(wallet.alertBelowNanoUsd),
    key: {
      id: `key_${keyId.replaceAll('-', '')}`,
      cap_cents: capNanoUsd === undefined ? null : toCents(capNanoUsd),
      spent_cents: toCents(spentNanoUsd),
      remaining_cents: left === undefined ? null : toCents(left),
      resets_at: capNanoUsd === undefined ? null : isoSeconds(resetsAt),
    },
  };
}

/** What a key may still spend of its cap. */
export function remainingOf(capNanoUsd: bigint, spentNanoUsd: bigint): bigint {
  return capNanoUsd > spentNanoUsd ? capNanoUsd - spentNanoUsd : 0n;
}

export function endpointBody(endpoint: EndpointView) {
  return {
    id: endpoint.id,
    webhook_id: endpoint.id,
    url: endpoint.url,
    events: endpoint.events,
    environment: environmentName(endpoint.environment),
    active: endpoint.active,
    created_at: isoSeconds(endpoint.createdAt),
  };
}

const DELIVERY_CODES = { pending: null, succeeded: CODE.done, failed: CODE.webhookFailed } as const;

export function deliveryBody(delivery: DeliveryView) {
  return {
    id: delivery.id,
    event_id: delivery.eventId,
    event: delivery.event,
    webhook_id: delivery.webhookId,
    transaction_id: delivery.transactionId ?? null,
    state: delivery.state,
    code: DELIVERY_CODES[delivery.state],
    replay_of: delivery.replayOf ?? null,
    next_attempt_at: delivery.nextAttemptAt ? isoSeconds(delivery.nextAttemptAt) : null,
    created_at: isoSeconds(delivery.createdAt),
    attempts: delivery.attempts,
  };
}
