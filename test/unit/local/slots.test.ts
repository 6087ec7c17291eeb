import { afterEach, expect, it, vi } from 'vitest';
import { createSlots } from '../../../src/local/solana/slots.ts';
import { solanaNetwork } from '../../support/svm-transaction.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

it('a slot of the local Solana takes as long as one of the network: 400 ms', () => {
  const now = vi.spyOn(performance, 'now').mockReturnValue(5_000);
  const { slotMs } = solanaNetwork();
  const slots = createSlots({
    seed: '0'.repeat(64),
    slotMs,
    startSlot: 100,
    confirmedAfterSlots: 1,
    finalizedAfterSlots: 32,
  });
  const at = (elapsedMs: number) => {
    now.mockReturnValue(5_000 + elapsedMs);
    return slots.advance();
  };
  expect([0, 399, 400, 799, 800, 60_000].map(at)).toEqual([100, 100, 101, 101, 102, 250]);
});
