import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBalance } from '../../src/ledger/balances.ts';
import { createSpendingService } from '../../src/ledger/spending-service.ts';
import { newId } from '../../src/lib/ids.ts';
import { startGateway, type TestGateway } from '../support/gateway.ts';
import { CELLS, createLedgerDatabase, expectSoundBooks, type LedgerDatabase, openFunded } from './support.ts';

describe('spending over the cells of a database', () => {
  let database: LedgerDatabase;

  beforeAll(async () => {
    database = await createLedgerDatabase();
  });

  afterAll(() => database.close());

  it('reaches each account in its own cell, with every operation', async () => {
    const { pool } = database;
    const spending = createSpendingService({ db: pool });
    const accounts = await Promise.all(
      CELLS.map(async cell => ({ cell, accountId: await openFunded(pool, cell, 100n) })),
    );
    for (const account of accounts) {
      const [captured, released] = [newId(), newId()];
      const statuses = [
        await spending.hold(account, { id: captured, amountNanoUsd: 30n, lifetimeMs: 1_000 }),
        await spending.hold(account, { id: released, amountNanoUsd: 60n, lifetimeMs: 1_000 }),
        await spending.renew(account, { id: captured, lifetimeMs: 60_000 }),
        await spending.capture(account, { id: captured, amountNanoUsd: 35n, overage: 'available' }),
        await spending.release(account, { id: released }),
        await spending.debit(account, { id: newId(), amountNanoUsd: 66n }),
        await spending.debit(account, { id: newId(), amountNanoUsd: 66n, writeOff: true }),
      ].map(result => result.status);
      expect(statuses).toEqual([
        'applied',
        'applied',
        'applied',
        'applied',
        'applied',
        'insufficient',
        'applied',
      ]);
      expect(await readBalance(pool, account.cell, account.accountId)).toMatchObject({
        postedNanoUsd: 0n,
        heldNanoUsd: 0n,
      });
      await expectSoundBooks(pool, account.cell);
    }
  });

  it('finishes what it took when it is drained, turns others away, and takes them after it resumes', async () => {
    const { pool } = database;
    const [cell] = CELLS;
    const account = { cell, accountId: await openFunded(pool, cell, 100n) };
    const spending = createSpendingService({ db: pool });
    const order = () => ({ id: newId(), amountNanoUsd: 1n });
    const taken = [spending.debit(account, order()), spending.debit(account, order())];
    await spending.drain();
    expect((await Promise.all(taken)).map(result => result.status)).toEqual(['applied', 'applied']);
    await expect(spending.debit(account, order())).rejects.toMatchObject({ code: 'unavailable' });
    await expect(spending.debit({ ...account, cell: CELLS[1] }, order())).rejects.toMatchObject({
      code: 'unavailable',
    });
    spending.resume();
    expect((await spending.debit(account, order())).status).toBe('applied');
  });
});

describe('spending of a gateway', () => {
  let gateway: TestGateway;

  beforeAll(async () => {
    gateway = await startGateway();
  });

  afterAll(() => gateway.stop());

  it('holds and captures a key’s credit, and turns away while the sandbox is reset', async () => {
    const order = { dialect: 'dria', environment: 'live', balanceNanoUsd: 10_000_000_000n } as const;
    const { apiKey } = await gateway.services.createFundedKey(order);
    const { customer } = await gateway.services.apiKeys.authenticate({
      apiKey,
      dialect: 'dria',
      callerAddress: '127.0.0.1',
    });
    const { spending } = gateway.services;
    const id = newId();
    const held = await spending.hold(customer, { id, amountNanoUsd: 4_000_000_000n, lifetimeMs: 60_000 });
    expect(held).toEqual({ status: 'applied', availableNanoUsd: 6_000_000_000n });
    await gateway.services.whilePaused(async () => {
      await expect(spending.release(customer, { id })).rejects.toMatchObject({ code: 'unavailable' });
    });
    const captured = await spending.capture(customer, { id, amountNanoUsd: 1_000_000_000n });
    expect(captured).toEqual({ status: 'applied', availableNanoUsd: 9_000_000_000n });
  });
});
