import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  classifyReason,
  judgeSettleAnswer,
  judgeVerifyRefusal,
  REASON_CODES,
  type ReasonClass,
  type SettleVerdict,
  type VerifyVerdict,
} from '../../../src/facilitators/reason-codes.ts';

const HASH = `0x${'ab'.repeat(32)}`;

/** What each class means after a settle call: with no transaction named, and with one. */
const AFTER_SETTLE: Record<ReasonClass, [SettleVerdict, SettleVerdict]> = {
  before_broadcast: ['refused', 'unknown'],
  after_broadcast: ['unknown', 'said_reverted'],
  already_used: ['unknown', 'unknown'],
  ambiguous: ['unknown', 'unknown'],
  facilitator: ['unknown', 'unknown'],
  unknown: ['unknown', 'unknown'],
};

const IN_VERIFY: Record<ReasonClass, readonly VerifyVerdict[]> = {
  before_broadcast: ['invalid'],
  after_broadcast: ['doubtful'],
  already_used: ['already_used'],
  ambiguous: ['invalid', 'doubtful'],
  facilitator: ['doubtful'],
  unknown: ['doubtful'],
};

function settled(reason: string | undefined, transaction?: string): SettleVerdict {
  return judgeSettleAnswer({ success: false, reason, transaction });
}

describe('the table of reason codes', () => {
  it('lists every code once', () => {
    const codes = REASON_CODES.map(([code]) => code);
    expect(codes.length).toBeGreaterThan(120);
    expect(new Set(codes).size).toBe(codes.length);
  });

  it.each(REASON_CODES.map(([code, reasonClass]) => ({ code, reasonClass })))(
    '$code is $reasonClass',
    ({ code, reasonClass }) => {
      const [without, withTransaction] = AFTER_SETTLE[reasonClass];
      expect(settled(code)).toBe(without);
      expect(settled(code, HASH)).toBe(withTransaction);
      expect(IN_VERIFY[reasonClass]).toContain(judgeVerifyRefusal(code));
    },
  );

  it.each([undefined, '', 'something_new', 'Settlement failed', 'toString', 'constructor'])(
    'knows nothing about %j',
    code => {
      expect(classifyReason(code)).toBe('unknown');
      expect(settled(code)).toBe('unknown');
      expect(settled(code, HASH)).toBe('unknown');
      expect(judgeVerifyRefusal(code)).toBe('doubtful');
    },
  );

  it('takes a claimed success for a claim, whatever else the answer says', () => {
    expect(judgeSettleAnswer({ success: true, reason: undefined, transaction: HASH })).toBe('said_settled');
    expect(judgeSettleAnswer({ success: true, reason: 'invalid_payload', transaction: undefined })).toBe(
      'said_settled',
    );
  });

  it('reads the code before the text that a scheme appends', () => {
    expect(settled('invalid_exact_evm_transaction_failed: execution reverted', HASH)).toBe('said_reverted');
    expect(settled('invalid_exact_evm_transaction_failed: execution reverted')).toBe('unknown');
  });

  it('never lets a code that is also given for a lost broadcast stand for "nothing was sent"', () => {
    // Seen with the official scheme when the answer to the broadcast was lost, and when somebody else sent first.
    for (const code of ['invalid_exact_evm_transaction_failed', 'invalid_exact_evm_nonce_already_used']) {
      expect(settled(code)).toBe('unknown');
    }
  });

  it('takes a bad signature or a failed simulation for a possible outage of the facilitator', () => {
    expect(judgeVerifyRefusal('invalid_exact_evm_signature')).toBe('doubtful');
    expect(judgeVerifyRefusal('invalid_exact_evm_transaction_simulation_failed')).toBe('doubtful');
    expect(judgeVerifyRefusal('invalid_exact_evm_insufficient_balance')).toBe('invalid');
  });
});

describe('the official packages', () => {
  const packages = ['evm', 'svm'].map(name => ({
    name,
    folder: path.resolve(import.meta.dirname, `../../../node_modules/@x402/${name}/dist/esm`),
  }));

  /** Codes are string constants; those of other schemes than `exact` are nothing we ask for. */
  function codesIn(folder: string): string[] {
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(f => f.endsWith('.mjs'));
    const text = files.map(file => readFileSync(path.join(folder, file), 'utf8')).join('\n');
    const assigned = /\bErr[A-Za-z0-9]+ = "((?:invalid_exact|permit2|invalid_permit2|eip|erc20)[a-z0-9_]*)"/g;
    return [...new Set([...text.matchAll(assigned)].map(match => match[1] ?? ''))];
  }

  it.each(packages)('give no code of @x402/$name that the table does not know', ({ folder }) => {
    const codes = codesIn(folder);
    expect(codes.length).toBeGreaterThan(30);
    expect(codes.filter(code => classifyReason(code) === 'unknown')).toEqual([]);
  });
});
