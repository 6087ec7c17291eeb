import { describe, expect, it } from 'vitest';
import { createSlots } from '../../../src/webhooks/slots.ts';

describe('the slots of receivers', () => {
  it('give one receiver eight at a time', () => {
    const slots = createSlots();
    for (let n = 0; n < 8; n += 1) slots.start('a');
    expect(slots.taken()).toEqual(new Map([['a', 0]]));
    slots.end('a', false);
    expect(slots.taken()).toEqual(new Map([['a', 1]]));
    expect(slots.free()).toBe(249);
  });

  it('give a receiver that timed out one at a time until it answers', () => {
    const slots = createSlots();
    slots.start('a');
    slots.end('a', true);
    expect(slots.taken()).toEqual(new Map([['a', 1]]));
    slots.start('a');
    expect(slots.taken()).toEqual(new Map([['a', 0]]));
    slots.end('a', false);
    expect(slots.taken()).toEqual(new Map());
  });

  it('keep half of all for receivers that answer', () => {
    const slots = createSlots();
    for (let n = 0; n < 200; n += 1) {
      slots.start(`slow-${n}`);
      slots.end(`slow-${n}`, true);
    }
    for (let n = 0; n < 128; n += 1) slots.start(`slow-${n}`);
    expect([...slots.taken().values()].every(free => free === 0)).toBe(true);
    expect(slots.free()).toBe(128);
    expect(slots.perEndpoint).toBe(8);
  });
});
