import { randomBytes } from 'node:crypto';
import type { SvmTransactionView } from './svm-transaction.ts';

export const MEMO_PROGRAM = 'MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr';

/** 16 random bytes as hex, as the published client makes them where it is not told a memo. */
export function newMemo(): string {
  return randomBytes(16).toString('hex');
}

/** The texts of a transaction's memos, in their order. */
export function findMemos({ instructions }: SvmTransactionView): string[] {
  return instructions
    .filter(({ program }) => program === MEMO_PROGRAM)
    .map(({ data }) => Buffer.from(data).toString('utf8'));
}
