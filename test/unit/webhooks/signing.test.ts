import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createWebhookSecret, signWebhook } from '../../../src/webhooks/signing.ts';

const SECRET = 'whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=';
const MESSAGE = {
  id: 'evt_01J0000000000000000000000A',
  timestamp: 1_781_352_000,
  body: '{"id":"evt_01J0000000000000000000000A","type":"topup.delivered","timestamp":"2026-06-13T12:00:00Z"}',
};

describe('the signature of a webhook', () => {
  it('is the published one', () => {
    expect(signWebhook({ ...MESSAGE, secrets: [SECRET] })).toEqual({
      stripe: 't=1781352000,v1=28ee2148c8c1469d1efae475ea700433bd3dd4da7ad19d7e18eaff5fab2a0c0b',
      standard: 'v1,3qeIl+ArjHadynmtDhJ8R3x1OThfXe3StC4Tz+gCeio=',
    });
  });

  it('is made with both secrets while one is being rotated out', () => {
    const other = createWebhookSecret();
    const { stripe, standard } = signWebhook({ ...MESSAGE, secrets: [other, SECRET] });
    const hex = createHmac('sha256', other).update(`${MESSAGE.timestamp}.${MESSAGE.body}`).digest('hex');
    expect(stripe).toBe(
      `t=1781352000,v1=${hex},v1=28ee2148c8c1469d1efae475ea700433bd3dd4da7ad19d7e18eaff5fab2a0c0b`,
    );
    expect(standard.split(' ')).toHaveLength(2);
    expect(standard).toContain('v1,3qeIl+ArjHadynmtDhJ8R3x1OThfXe3StC4Tz+gCeio=');
  });

  it('has secrets in standard base64, each its own', () => {
    const secrets = Array.from({ length: 100 }, createWebhookSecret);
    expect(new Set(secrets).size).toBe(100);
    for (const secret of secrets) expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  });
});
