import {
  AccountRole,
  type Address,
  appendTransactionMessageInstructions,
  type Blockhash,
  compileTransaction,
  createTransactionMessage,
  getBase64EncodedWireTransaction,
  type Instruction,
  pipe,
  type SignatureBytes,
  setTransactionMessageFeePayer,
  setTransactionMessageLifetimeUsingBlockhash,
} from '@solana/kit';
import { associatedTokenAccount } from '../lib/svm-address.ts';
import type { SvmKey } from '../lib/svm-key.ts';
import { MEMO_PROGRAM } from '../lib/svm-memo.ts';

const COMPUTE_BUDGET_PROGRAM = 'ComputeBudget111111111111111111111111111111' as Address;
const SET_COMPUTE_UNIT_LIMIT = 2;
const SET_COMPUTE_UNIT_PRICE = 3;
const TRANSFER_CHECKED = 12;

/** What the published client asks for: enough for transfer and memo, at the lowest price there is. */
const COMPUTE_UNITS = 20_000;
const MICRO_LAMPORTS_PER_UNIT = 1n;

/** A block that is not old: the transaction can be settled until a given number of blocks came after it. */
export interface RecentBlock {
  /** Base58 of 32 bytes. */
  blockhash: string;
  lastValidBlockHeight: bigint;
}

/** A transfer from the payer's own token account to the receiver's; addresses are base58. */
export interface SvmTransfer {
  feePayer: string;
  payTo: string;
  usdc: { address: string; decimals: number; tokenProgram: string };
  amountBaseUnits: bigint;
  memo: string;
}

/**
 * Builds and signs the transaction that the scheme `exact` prescribes on Solana
 * (specs/schemes/exact/scheme_exact_svm.md): compute limit and price, one TransferChecked, one memo, version 0.
 * The fee payer's signature stays empty: that account is the seller's.
 * @returns base64 of the wire transaction
 */
export async function signSvmTransfer(
  key: SvmKey,
  transfer: SvmTransfer,
  block: RecentBlock,
): Promise<string> {
  const message = pipe(
    createTransactionMessage({ version: 0 }),
    m => setTransactionMessageFeePayer(transfer.feePayer as Address, m),
    m =>
      setTransactionMessageLifetimeUsingBlockhash({ ...block, blockhash: block.blockhash as Blockhash }, m),
    m => appendTransactionMessageInstructions(instructionsOf(key.address, transfer), m),
  );
  const transaction = compileTransaction(message);
  const signature = (await key.sign(Uint8Array.from(transaction.messageBytes))) as SignatureBytes;
  const signatures = { ...transaction.signatures, [key.address]: signature };
  return getBase64EncodedWireTransaction({ ...transaction, signatures });
}

function instructionsOf(payer: string, transfer: SvmTransfer): Instruction[] {
  const { payTo, usdc, amountBaseUnits, memo } = transfer;
  const limit = Buffer.alloc(5);
  limit.writeUInt8(SET_COMPUTE_UNIT_LIMIT);
  limit.writeUInt32LE(COMPUTE_UNITS, 1);
  const price = Buffer.alloc(9);
  price.writeUInt8(SET_COMPUTE_UNIT_PRICE);
  price.writeBigUInt64LE(MICRO_LAMPORTS_PER_UNIT, 1);
  const move = Buffer.alloc(10);
  move.writeUInt8(TRANSFER_CHECKED);
  move.writeBigUInt64LE(amountBaseUnits, 1);
  move.writeUInt8(usdc.decimals, 9);
  const account = (address: string, role: AccountRole) => ({ address: address as Address, role });
  const tokenAccountOf = (owner: string) => associatedTokenAccount(owner, usdc.address, usdc.tokenProgram);
  return [
    { programAddress: COMPUTE_BUDGET_PROGRAM, data: limit },
    { programAddress: COMPUTE_BUDGET_PROGRAM, data: price },
    {
      programAddress: usdc.tokenProgram as Address,
      accounts: [
        account(tokenAccountOf(payer), AccountRole.WRITABLE),
        account(usdc.address, AccountRole.READONLY),
        account(tokenAccountOf(payTo), AccountRole.WRITABLE),
        account(payer, AccountRole.READONLY_SIGNER),
      ],
      data: move,
    },
    { programAddress: MEMO_PROGRAM as Address, data: Buffer.from(memo) },
  ];
}
