import type { Values } from './read.ts';
import { parseList } from './values.ts';

export interface WebhookConfig {
  /** Whether a webhook may lead to this machine: for development alone. */
  allowLoopback: boolean;
  /** Seconds to wait before each attempt to an operator's endpoint, from the end of the last one. */
  retrySeconds: readonly number[];
}

const MAX_ATTEMPTS = 20;
const MAX_WAIT_SECONDS = 7 * 86_400;

export function parseWebhooks(values: Values, problems: string[]): WebhookConfig {
  if (!['true', 'false'].includes(values.WEBHOOK_ALLOW_LOOPBACK))
    problems.push("WEBHOOK_ALLOW_LOOPBACK must be 'true' or 'false'");
  const waits = parseList(values.WEBHOOK_RETRY_SECONDS);
  const seconds = waits.map(Number);
  const valid = waits.every(text => /^\d{1,6}$/.test(text)) && seconds.every(s => s <= MAX_WAIT_SECONDS);
  if (!valid || seconds.length === 0 || seconds.length > MAX_ATTEMPTS)
    problems.push(
      `WEBHOOK_RETRY_SECONDS must be 1 to ${MAX_ATTEMPTS} whole numbers of seconds, a week at most`,
    );
  return { allowLoopback: values.WEBHOOK_ALLOW_LOOPBACK === 'true', retrySeconds: seconds };
}

const KEY_BYTES = 32;

/** The keys that seal secrets in the database: standard base64 of 32 bytes each, the newest first. */
export function parseEncryptionKeys(text: string, problems: string[]): readonly Buffer[] {
  const keys = parseList(text).map(key => Buffer.from(key, 'base64'));
  const valid = keys.every(
    (key, n) => key.length === KEY_BYTES && key.toString('base64') === parseList(text)[n],
  );
  if (!valid) problems.push('DATA_ENCRYPTION_KEY must be base64 of 32 bytes, or a list of such keys');
  return keys;
}
