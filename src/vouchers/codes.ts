import { createHash, randomInt } from 'node:crypto';

/** Digits and capitals that nobody takes for each other: without 0, 1, I, L, O and U. */
const ALPHABET = '23456789ABCDEFGHJKMNPQRSTVWXYZ';
const CODE = /^ATU-[2-9A-HJKMNP-TV-Z]{4}-[2-9A-HJKMNP-TV-Z]{4}-[2-9A-HJKMNP-TV-Z]{4}$/;

/** A fresh code, `ATU-XXXX-XXXX-XXXX`: about 59 bits that nobody can guess through an operator's key. */
export function mintVoucherCode(): string {
  const group = () => Array.from({ length: 4 }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
  return `ATU-${group()}-${group()}-${group()}`;
}

/** The name under which a code is found. @returns undefined for what cannot be a code */
export function hashVoucherCode(text: string): Buffer | undefined {
  const code = text.trim().toUpperCase();
  return CODE.test(code) ? createHash('sha256').update(code).digest() : undefined;
}

const LETTERS = '0123456789abcdefghijklmnopqrstuvwxyz';
const TRANSACTION_LENGTH = 20;

const TRANSACTION_ID = /^txn_[0-9a-z]{20}$/;

/** `txn_` and 20 digits and small letters. */
export function mintTransactionId(): string {
  const letters = Array.from({ length: TRANSACTION_LENGTH }, () => LETTERS[randomInt(LETTERS.length)]);
  return `txn_${letters.join('')}`;
}

/** Whether a text can be the id of a transaction at all. */
export function isTransactionId(text: string): boolean {
  return TRANSACTION_ID.test(text);
}
