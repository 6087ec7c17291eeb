import { describe, expect, it } from 'vitest';
import { readSettleAnswer, readSupported } from '../../../src/facilitators/facilitator-answers.ts';
import { createFacilitatorRegistry } from '../../../src/facilitators/registry.ts';
import type { Doubt, FacilitatorStore, StoredFacilitator } from '../../../src/ports/facilitator-store.ts';
import type { Log } from '../../../src/ports/log.ts';
import type { ExactPayment } from '../../../src/ports/payment.ts';

const NAME = 'https://facilitator.example.com';
const DAY_MS = 86_400_000;
const SUPPORTED = {
  kinds: [{ x402Version: 2, scheme: 'exact', network: 'solana:main', extra: { feePayer: 'Fee' } }],
  signers: { 'solana:*': ['Fee', 'Other'] },
};

function createFixture() {
  const now = { ms: 1_000_000_000_000 };
  const rows = new Map<string, StoredFacilitator>();
  const doubts = new Map<string, Doubt>();
  const store: FacilitatorStore = {
    list: () => Promise.resolve([...rows.values()]),
    listDoubts: () => Promise.resolve([...doubts.values()]),
    saveSupported(name, supported) {
      rows.set(name, { name, supported, supportedAt: new Date(now.ms), distrust: rows.get(name)?.distrust });
      return Promise.resolve();
    },
    distrust: () => Promise.resolve(true),
    trust: () => Promise.resolve(true),
  };
  const errors: [fields: object, message: string][] = [];
  const log: Log = {
    info: () => undefined,
    warn: () => undefined,
    error: (fields, message) => void errors.push([fields, message]),
  };
  const open = () => createFacilitatorRegistry({ store, clock: { nowMs: () => now.ms }, log });
  return { now, rows, doubts, errors, open };
}

describe('what is remembered of facilitators', () => {
  it('is there after a restart while the facilitator is down, for a day', async () => {
    const { now, open } = createFixture();
    const supported = readSupported(SUPPORTED);
    if (!supported) throw new Error('the answer can be read');
    await open().saveSupported(NAME, supported);
    const restarted = open();
    expect(restarted.supportedBy(NAME)).toBeUndefined();
    await restarted.refresh();
    expect(restarted.supportedBy(NAME)).toEqual(supported);
    now.ms += DAY_MS + 1;
    expect(restarted.supportedBy(NAME)).toBeUndefined();
  });

  it('keeps a mark, and loses it when another process took it away', async () => {
    const { rows, open } = createFixture();
    const registry = open();
    const mark = { paymentId: 'payment', reason: 'expired' };
    rows.set(NAME, {
      name: NAME,
      supported: undefined,
      supportedAt: undefined,
      distrust: { ...mark, since: new Date(0) },
    });
    await registry.refresh();
    expect(registry.distrustOf(NAME)).toMatchObject(mark);
    rows.clear();
    await registry.refresh();
    expect(registry.distrustOf(NAME)).toBeUndefined();
  });

  it('rings the alarm once when one is taken out for a lie, and says which', async () => {
    const { errors, open } = createFixture();
    const registry = open();
    const mark = { paymentId: 'payment', reason: 'expired' };
    await registry.distrust(NAME, mark);
    expect(errors).toEqual([[{ facilitator: NAME, ...mark }, expect.stringMatching(/^ALARM: /)]]);
    expect(registry.distrustOf(NAME)).toMatchObject(mark);
  });
});

describe('a doubt', () => {
  it('is there for as long as the database holds it', async () => {
    const { doubts, open } = createFixture();
    const registry = open();
    const doubt = { name: NAME, paymentId: 'payment', since: new Date(0) };
    doubts.set(NAME, doubt);
    expect(registry.doubtOf(NAME)).toBeUndefined();
    await registry.refresh();
    expect([registry.doubtOf(NAME), registry.distrustOf(NAME)]).toEqual([doubt, undefined]);
    doubts.clear();
    await registry.refresh();
    expect(registry.doubtOf(NAME)).toBeUndefined();
  });
});

describe('an answer of a facilitator', () => {
  const payment = { kind: 'eip3009', network: 'eip155:8453' } as ExactPayment;
  const hash = `0x${'AB'.repeat(32)}`;

  it.each([
    ['no object', 'yes'],
    ['no result', { transaction: hash }],
    ['a result that is no boolean', { success: 'true', transaction: hash }],
    ['another network', { success: true, transaction: hash, network: 'eip155:1' }],
  ])('is unreadable with %s', (_, body) => {
    expect(readSettleAnswer(body, payment, 'base')).toBeUndefined();
  });

  it.each(['eip155:8453', 'base', '', undefined])('may name the network %j', network => {
    const body = { success: true, transaction: hash, network };
    expect(readSettleAnswer(body, payment, 'base')).toEqual({
      success: true,
      reason: undefined,
      transaction: hash.toLowerCase(),
    });
  });

  it.each(['', 'pending', `${hash}00`, 7, null])('names no transaction with %j', transaction => {
    const answer = readSettleAnswer({ success: true, transaction }, payment, 'base');
    expect(answer).toMatchObject({ success: true, transaction: undefined });
  });

  it.each([
    [{ kinds: 'all' }],
    [{ kinds: [{ scheme: 'exact', network: 'base' }] }],
    [{ kinds: [], signers: [] }],
    [undefined],
  ])('is no list of kinds: %j', body => {
    expect(readSupported(body)).toBeUndefined();
  });
});
