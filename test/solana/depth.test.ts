import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fundedSolanaWallet, SOLANA_MAINNET } from '../support/solana.ts';
import {
  ownPaymentHeader,
  presentPayment,
  type SolanaGateway,
  solanaCreditOf,
  solanaPaymentHeader,
  startSolanaGateway,
} from '../support/solana-gateway.ts';

const NEVER_MS = 3_600_000;

let gateway: SolanaGateway;

beforeAll(async () => {
  gateway = await startSolanaGateway({
    // Slots pass only when the test lets them.
    local: { slotMs: NEVER_MS },
    settings: { CONFIRMATIONS: JSON.stringify({ [SOLANA_MAINNET]: { '0': 1, '6': 5, '9': 'final' } }) },
    seams: { settleWaitMs: 300, reconcileEveryMs: NEVER_MS },
  });
});

afterAll(async () => {
  await gateway.stop();
});

const newWallet = () => fundedSolanaWallet(gateway.chain, 100_000_000n);

/** Looks at everything that is open. @returns how many payments wait for more blocks */
async function waiting(): Promise<number> {
  const { confirming, pending } = await gateway.services.reconcile();
  expect(pending).toEqual([]);
  return confirming.length;
}

describe('CONFIRMATIONS on Solana', () => {
  it('asks for so many blocks', async () => {
    const wallet = await newWallet();
    const header = await solanaPaymentHeader(gateway, wallet, 6_000_000n);
    expect((await presentPayment(gateway, header)).statusCode).toBe(504);
    await gateway.chain.advanceSlots(3);
    expect(await waiting()).toBe(1);
    expect(await solanaCreditOf(gateway, wallet.address)).toEqual({ posted: '0', transfers: 0 });
    await gateway.chain.advanceSlots(1);
    expect(await waiting()).toBe(0);
    expect(await solanaCreditOf(gateway, wallet.address)).toEqual({ posted: '6000000000', transfers: 1 });
  });

  it('asks for a finalized block where it says final', async () => {
    const wallet = await newWallet();
    const header = await solanaPaymentHeader(gateway, wallet, 9_000_000n);
    expect((await presentPayment(gateway, header)).statusCode).toBe(504);
    await gateway.chain.advanceSlots(31);
    expect(await waiting()).toBe(1);
    await gateway.chain.advanceSlots(1);
    expect(await waiting()).toBe(0);
    expect(await solanaCreditOf(gateway, wallet.address)).toEqual({ posted: '9000000000', transfers: 1 });
  });
});

it('a legacy transaction is paid like any other', async () => {
  const wallet = await newWallet();
  const header = await ownPaymentHeader(gateway, wallet, 5_000_000n, { version: 'legacy' });
  const { payload } = JSON.parse(Buffer.from(header, 'base64').toString('utf8'));
  const wire = Buffer.from(payload.transaction, 'base64');
  // Behind two signatures: a version would set the highest bit.
  expect((wire[1 + 2 * 64] ?? 0x80) & 0x80).toBe(0);
  expect((await presentPayment(gateway, header)).statusCode).toBe(504);
  await gateway.chain.advanceSlots(1);
  expect(await waiting()).toBe(0);
  expect(await solanaCreditOf(gateway, wallet.address)).toEqual({ posted: '5000000000', transfers: 1 });
  expect((await presentPayment(gateway, header)).statusCode).toBe(200);
});
