import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'pg';
import { describe, expect, it } from 'vitest';
import { unavailable } from '../../src/lib/errors.ts';
import type { EvmClient } from '../../src/ports/evm-client.ts';
import { judge } from '../../src/topups/reconciliation.ts';
import { usdcTransfersTo } from '../support/chain.ts';
import { createTestDatabase } from '../support/database.ts';
import {
  FACILITATOR_SETTINGS,
  foreignStateOf,
  newForeignPayment,
  SELLER,
  settleForSeller,
} from '../support/foreign-settlement.ts';
import { startGateway } from '../support/gateway.ts';
import type { SignedPayment } from '../support/payment.ts';

const NEVER_MS = 3_600_000;

const settings = FACILITATOR_SETTINGS;

async function arrivals({ authorization }: SignedPayment): Promise<number> {
  const transfers = await usdcTransfersTo(SELLER);
  return transfers.filter(({ from }) => from === authorization.from.toLowerCase()).length;
}

/** A node that swallows what is sent for as long as `isDown`. */
function withNode(fault: { isDown: boolean }) {
  return (client: EvmClient): EvmClient => ({
    ...client,
    sendRawTransaction: raw =>
      fault.isDown ? Promise.reject(unavailable('the Base node')) : client.sendRawTransaction(raw),
  });
}

describe('a payment to another seller whose outcome is not known', () => {
  it('is in the report and brought to its end, although nobody asks again', async () => {
    const fault = { isDown: true };
    const quiet = { reconcileEveryMs: NEVER_MS, maintainSenderEveryMs: NEVER_MS };
    const gateway = await startGateway({
      settings,
      seams: { evmClient: withNode(fault), settleWaitMs: 200, ...quiet },
    });
    const payment = await newForeignPayment();
    expect((await settleForSeller(gateway, payment)).json()).toMatchObject({
      errorReason: 'settlement_pending',
    });
    const report = await gateway.services.reconcile({ dryRun: true });
    expect([judge(report), report.pending]).toMatchObject([
      'gap',
      [{ caller: 'shop-a', payer: payment.authorization.from.toLowerCase(), amountBaseUnits: 3_000_000n }],
    ]);
    expect([await foreignStateOf(gateway.sql, payment), await arrivals(payment)]).toEqual(['settling', 0]);
    fault.isDown = false;
    expect(judge(await gateway.services.reconcile())).toBe('in_order');
    expect([await foreignStateOf(gateway.sql, payment), await arrivals(payment)]).toEqual(['settled', 1]);
    await gateway.stop();
  });

  it('is finished by a replica that starts, and by the timer', async () => {
    const fault = { isDown: true };
    const quiet = { reconcileEveryMs: NEVER_MS, maintainSenderEveryMs: NEVER_MS };
    const first = await startGateway({
      settings,
      seams: { evmClient: withNode(fault), settleWaitMs: 100, ...quiet },
    });
    const lost = await newForeignPayment();
    await settleForSeller(first, lost);
    // Whoever accepted it would still be working on it.
    await first.sql.query("UPDATE directory.facilitator_settlement SET due_at = now() + interval '1 hour'");
    const second = await startGateway({
      replicaOf: first,
      seams: { reconcileEveryMs: 100, maintainSenderEveryMs: NEVER_MS },
    });
    await expect.poll(() => foreignStateOf(first.sql, lost), { timeout: 20_000 }).toBe('settled');
    const later = await newForeignPayment();
    await settleForSeller(first, later);
    await expect.poll(() => foreignStateOf(first.sql, later), { timeout: 20_000 }).toBe('settled');
    expect([await arrivals(lost), await arrivals(later)]).toEqual([1, 1]);
    await second.stop();
    await first.stop();
  });

  it('is waited for when the gateway stops', async () => {
    const database = await createTestDatabase();
    const gateway = await startGateway({
      settings: { ...settings, DATABASE_URL: database.databaseUrl },
      seams: {
        evmClient: client => ({
          ...client,
          async sendRawTransaction(raw) {
            await sleep(1_000);
            await client.sendRawTransaction(raw);
          },
        }),
      },
    });
    const payment = await newForeignPayment();
    const answer = settleForSeller(gateway, payment);
    await expect.poll(() => foreignStateOf(gateway.sql, payment), { timeout: 10_000 }).toBe('settling');
    await gateway.services.stop();
    const sql = new Pool({ connectionString: database.databaseUrl, max: 1 });
    expect(await foreignStateOf(sql, payment)).toBe('settled');
    expect((await answer).json()).toMatchObject({ success: true });
    await sql.end();
    await gateway.app.close();
    await gateway.sql.end();
    await database.drop();
  });
});
