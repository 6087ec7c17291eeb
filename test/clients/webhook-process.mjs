/**
 * Verifies webhooks with the published libraries, unmodified, from this folder's packages. Reads lines of JSON,
 * `{ body, headers, secret, nowMs }`, and answers each with one: `{ stripe, standard }`, the event's id as each
 * library read it, or `{ error }` with its words. Both are told the time, because both refuse what is too old.
 */
import { createInterface } from 'node:readline';
import { Webhook } from 'standardwebhooks';
import { Stripe } from 'stripe';

const stripe = new Stripe('sk_test_unused');

function attempt(verify) {
  try {
    return verify().id;
  } catch (error) {
    return { error: error.message };
  }
}

for await (const line of createInterface(process.stdin)) {
  const { body, headers, secret, nowMs } = JSON.parse(line);
  Date.now = () => nowMs;
  const signature = headers['x-aitopup-signature'] ?? headers['x-webhook-signature'];
  const answer = {
    stripe: attempt(() => stripe.webhooks.constructEvent(body, signature, secret)),
    standard: attempt(() => new Webhook(secret).verify(body, headers)),
  };
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
