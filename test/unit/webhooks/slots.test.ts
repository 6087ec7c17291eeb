import { describe, expect, it } from 'vitest';
import { createSlots, SLOW_MS } from '../../../src/webhooks/slots.ts';

function watchedSlots() {
  let nowMs = 1_000;
  const slots = createSlots(() => nowMs);
  return {
    ...slots,
    start: (endpointId: string, owner = `owner of ${endpointId}`) => slots.start({ endpointId, owner }),
    pass(ms: number) {
      nowMs += ms;
    },
  };
}

describe('the slots of receivers', () => {
  it('give one receiver eight at a time', () => {
    const slots = watchedSlots();
    const ends = Array.from({ length: 8 }, () => slots.start('a'));
    expect(slots.allowance()).toMatchObject({ total: 248, perEndpoint: 8, slow: 128 });
    expect(slots.allowance().endpoints).toEqual(new Map([['a', { free: 0, isSlow: false }]]));
    for (const end of ends.slice(0, 2)) end(5);
    expect(slots.allowance().endpoints.get('a')).toEqual({ free: 2, isSlow: false });
    for (const end of ends.slice(2)) end(5);
    expect(slots.allowance()).toMatchObject({ total: 256, endpoints: new Map(), owners: new Map() });
  });

  it('give the receivers of one owner 32 at a time', () => {
    const slots = watchedSlots();
    for (let n = 0; n < 30; n += 1) slots.start(`endpoint-${n % 5}`, 'one');
    slots.start('another', 'two');
    expect(slots.allowance()).toMatchObject({ perOwner: 32 });
    expect(slots.allowance().owners).toEqual(
      new Map([
        ['one', 2],
        ['two', 31],
      ]),
    );
  });

  it('give a receiver that takes its time one, whatever it says in the end, until it is prompt', () => {
    const slots = watchedSlots();
    slots.start('a')(SLOW_MS + 1);
    expect(slots.allowance().endpoints).toEqual(new Map([['a', { free: 1, isSlow: true }]]));
    const end = slots.start('a');
    expect(slots.allowance()).toMatchObject({ slow: 127 });
    expect(slots.allowance().endpoints).toEqual(new Map([['a', { free: 0, isSlow: true }]]));
    end(SLOW_MS);
    expect(slots.allowance()).toMatchObject({ slow: 128, endpoints: new Map() });
  });

  it('know a receiver as slow while it still holds what it was given, and give that room to others', () => {
    const slots = watchedSlots();
    const [first, ...others] = Array.from({ length: 8 }, () => slots.start('a'));
    slots.pass(SLOW_MS - 1);
    expect(slots.allowance()).toMatchObject({ total: 248, slow: 128 });
    const late = slots.start('b');
    slots.pass(1);
    expect(slots.allowance()).toMatchObject({ total: 255, slow: 120 });
    expect(slots.allowance().endpoints.get('a')).toEqual({ free: 0, isSlow: true });
    // A prompt answer proves nothing while others are held.
    first?.(SLOW_MS);
    expect(slots.allowance().endpoints.get('a')).toEqual({ free: 0, isSlow: true });
    for (const end of others) end(SLOW_MS * 2);
    late(1);
    expect(slots.allowance()).toMatchObject({ total: 256, slow: 128 });
    expect(slots.allowance().endpoints).toEqual(new Map([['a', { free: 1, isSlow: true }]]));
  });

  it('leave to slow receivers a share of their own, and no more', () => {
    const slots = watchedSlots();
    for (let n = 0; n < 200; n += 1) slots.start(`slow-${n}`)(SLOW_MS + 1);
    for (let n = 0; n < 128; n += 1) slots.start(`slow-${n}`);
    expect(slots.allowance()).toMatchObject({ total: 128, slow: 0 });
    slots.pass(SLOW_MS);
    expect(slots.allowance()).toMatchObject({ total: 256, slow: 0 });
  });

  it('have an end, however many receivers stop answering', () => {
    const slots = watchedSlots();
    let started = 0;
    for (let round = 0; round < 8; round += 1) {
      const { total } = slots.allowance();
      for (let n = 0; n < total; n += 1) slots.start(`endpoint-${started + n}`);
      started += total;
      slots.pass(SLOW_MS);
    }
    expect(started).toBe(1_024);
    expect(slots.allowance()).toMatchObject({ total: 0, slow: 0 });
  });
});
