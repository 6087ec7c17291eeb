import { describe, expect, it } from 'vitest';
import { readAccountOrder } from '../../../src/commands/account-orders.ts';
import { namesAccount } from '../../../src/commands/account-owner.ts';
import { newId } from '../../../src/lib/ids.ts';

const SIGNED = ['--actor', 'alice', '--reason', 'ticket 7'];
const ID = newId();

describe('an order of an operator', () => {
  it.each([
    ['freeze', '7'],
    ['unfreeze', '7'],
    ['credit-line', '7', '0'],
    ['credit-line', '7', '12.5'],
    ['adjust', '7', 'give', '5'],
    ['adjust', '7', 'take', '0.000000001', '--against', 'refundsDue'],
    ['refund', '7', ID, '1'],
    ['void-grant', '7', ID],
  ])('is read: %s %s %s %s', (...args) => {
    expect(readAccountOrder([...args, ...SIGNED])).toMatchObject({ account: '7' });
    const repeated = readAccountOrder([...args, ...SIGNED, '--id', ID.toUpperCase(), '--json']);
    expect(repeated?.id).toBe(ID);
  });

  it.each([
    [],
    ['melt', '7'],
    ['freeze'],
    ['freeze', '7', '8'],
    ['credit-line', '7'],
    ['credit-line', '7', '-1'],
    ['credit-line', '7', 'lots'],
    ['adjust', '7', '5'],
    ['adjust', '7', 'lend', '5'],
    ['adjust', '7', 'give', '0'],
    ['adjust', '7', 'give', '1e3'],
    ['adjust', '7', 'give', '0.0000000001'],
    ['adjust', '7', 'give', '5', '--against', 'none'],
    ['adjust', '7', 'give', '5', '--against', 'toString'],
    ['freeze', '7', '--against', 'revenue'],
    ['refund', '7', 'x', '1'],
    ['refund', '7', ID, '0'],
    ['refund', '7', ID],
    ['void-grant', '7', 'x'],
    ['freeze', '7', '--force'],
    ['freeze', '7', '--id', 'x'],
  ])('is not read: %j', (...args) => {
    expect(readAccountOrder([...args, ...SIGNED])).toBeUndefined();
  });

  it.each([
    [],
    ['--actor', 'alice'],
    ['--reason', 'ticket 7'],
    ['--actor', '', '--reason', 'ticket 7'],
    ['--actor', 'alice', '--reason', ''],
    ['--actor', 'a'.repeat(201), '--reason', 'ticket 7'],
    ['--actor', 'alice', '--reason', 'r'.repeat(501)],
  ])('is not read without both a reason and an actor: %j', (...signed) => {
    expect(readAccountOrder(['freeze', '7', ...signed])).toBeUndefined();
  });

  it('takes an account by wallet, customer and number', () => {
    const wallet = 'eip155:8453:0x2670B922ef37C7Df47158725C0CC407b5382293F';
    expect([wallet, ID, ID.toUpperCase(), '1', `${2n ** 63n - 1n}`].map(namesAccount)).not.toContain(false);
    const none = ['', '0', `${2n ** 63n}`, '-1', 'alice', 'eip155:1:0x12', `${ID}0`];
    expect(none.map(namesAccount)).not.toContain(true);
  });
});
