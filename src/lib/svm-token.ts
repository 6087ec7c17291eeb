import type { SvmInstruction, SvmTransactionView } from './svm-transaction.ts';

export const TOKEN_PROGRAM = 'TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA';
export const TOKEN_2022_PROGRAM = 'TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb';

/** Discriminator and layout of `TransferChecked`, the same in both token programs. */
const TRANSFER_CHECKED = 12;
const TRANSFER_CHECKED_BYTES = 10;

/** A `TransferChecked` instruction; it names the mint and its decimals, which the program then checks. */
export interface TokenTransfer {
  /** Position among the transaction's instructions. */
  index: number;
  program: string;
  source: string;
  mint: string;
  destination: string;
  /** Owner or delegate of the source account. */
  authority: string;
  amountBaseUnits: bigint;
  decimals: number;
}

/** The first plain token transfer of a transaction: one authority, no multisig. */
export function findTokenTransfer({ instructions }: SvmTransactionView): TokenTransfer | undefined {
  const index = instructions.findIndex(isTransferChecked);
  const found = instructions[index];
  if (!found) return undefined;
  const [source = '', mint = '', destination = '', authority = ''] = found.accounts;
  const data = Buffer.from(found.data);
  return {
    index,
    program: found.program,
    source,
    mint,
    destination,
    authority,
    amountBaseUnits: data.readBigUInt64LE(1),
    decimals: data.readUInt8(9),
  };
}

function isTransferChecked({ program, accounts, data }: SvmInstruction): boolean {
  return (
    (program === TOKEN_PROGRAM || program === TOKEN_2022_PROGRAM) &&
    data.length === TRANSFER_CHECKED_BYTES &&
    data[0] === TRANSFER_CHECKED &&
    accounts.length === 4
  );
}
