import { createHmac, randomBytes } from 'node:crypto';

const SECRET_PREFIX = 'whsec_';
const SECRET_BYTES = 32;

/**
 * A fresh secret: `whsec_` and standard base64, with `+`, `/` and `=`. The URL alphabet would break Standard
 * Webhooks libraries, which decode it.
 */
export function createWebhookSecret(): string {
  return SECRET_PREFIX + randomBytes(SECRET_BYTES).toString('base64');
}

export interface SignedMessage {
  /** Event id, the `webhook-id`. */
  id: string;
  /** Unix seconds of this attempt. */
  timestamp: number;
  /** The exact bytes that are sent. */
  body: string;
  /** The current secret, then one that is being rotated out. */
  secrets: readonly string[];
}

/**
 * Signs one attempt in both ways that receivers verify: as Stripe does (`t=…,v1=<hex>`, over `t.body`, with
 * the secret's whole text as the key) and as Standard Webhooks 1.0 says (`v1,<base64>`, over `id.t.body`, with
 * the decoded bytes behind `whsec_`). Two secrets make two signatures in each.
 */
export function signWebhook({ id, timestamp, body, secrets }: SignedMessage): {
  stripe: string;
  standard: string;
} {
  const hex = secrets.map(secret =>
    createHmac('sha256', secret).update(`${timestamp}.${body}`).digest('hex'),
  );
  const base64 = secrets.map(secret =>
    createHmac('sha256', Buffer.from(secret.slice(SECRET_PREFIX.length), 'base64'))
      .update(`${id}.${timestamp}.${body}`)
      .digest('base64'),
  );
  return {
    stripe: [`t=${timestamp}`, ...hex.map(value => `v1=${value}`)].join(','),
    standard: base64.map(value => `v1,${value}`).join(' '),
  };
}
