import { findMemos, MEMO_PROGRAM } from '../lib/svm-memo.ts';
import { findTokenTransfer, type TokenTransfer } from '../lib/svm-token.ts';
import { isSignedBy, type SvmInstruction, type SvmTransactionView } from '../lib/svm-transaction.ts';

/** What a payer may make us pay for and sign; everything above is refused. */
export interface SvmRuleLimits {
  maxComputeUnits: number;
  /** Micro-lamports per compute unit. */
  maxComputeUnitPrice: bigint;
  /** The fee payer's included. */
  maxSignatures: number;
}

/** The payment that a transaction must be, and nothing besides. */
export interface ExpectedTransfer {
  feePayer: string;
  payer: string;
  mint: string;
  tokenProgram: string;
  decimals: number;
  source: string;
  destination: string;
  amountBaseUnits: bigint;
  memo: string | undefined;
}

/** An x402 code and what is wrong in words. */
export interface RuleRefusal {
  reason: string;
  message: string;
}

const COMPUTE_BUDGET_PROGRAM = 'ComputeBudget111111111111111111111111111111';
/** Wallets add its assertions so that a transaction does to their user what was shown, or fails. */
const LIGHTHOUSE_PROGRAM = 'L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95';

const SET_COMPUTE_UNIT_LIMIT = 2;
const SET_COMPUTE_UNIT_PRICE = 3;

/** Limit, price and transfer, then at most four of memo and wallet assertions. */
const FIXED_INSTRUCTIONS = 3;
const MAX_INSTRUCTIONS = 7;
const OPTIONAL_NAMES = ['fourth', 'fifth', 'sixth', 'seventh'];

const refuse = (code: string, message: string): RuleRefusal => ({
  reason: `invalid_exact_svm_${code}`,
  message,
});

/**
 * Whether the fee payer may sign the transaction: it is the payment that is expected, in the layout that the
 * scheme prescribes, and the fee payer gives nothing but its fee, which is limited. The layout and the codes are
 * those of the scheme `exact` on Solana (specs/schemes/exact/scheme_exact_svm.md, `@x402/svm`); the limits and the
 * isolation of the fee payer are stricter than the published facilitator's.
 * @returns undefined when it may
 */
export function checkSvmTransaction(
  view: SvmTransactionView,
  expected: ExpectedTransfer,
  limits: SvmRuleLimits,
): RuleRefusal | undefined {
  return (
    checkSigners(view, expected, limits) ??
    checkComputeBudget(view, limits) ??
    checkTransfer(findTokenTransfer(view), expected) ??
    checkPayerSigns(view, expected) ??
    checkOptional(view.instructions.slice(FIXED_INSTRUCTIONS)) ??
    checkMemo(view, expected) ??
    checkIsolation(view, expected)
  );
}

const answers = new WeakMap<SvmTransactionView, Promise<boolean>>();

/** Whether everybody but the fee payer, who signs last, has signed; computed once for each view. */
export function isSignedByPayer(view: SvmTransactionView): Promise<boolean> {
  const known = answers.get(view);
  if (known) return known;
  const answer = checkSignatures(view);
  answers.set(view, answer);
  // Trouble of ours is no answer.
  answer.catch(() => answers.delete(view));
  return answer;
}

async function checkSignatures({ signers: [, ...others], message }: SvmTransactionView): Promise<boolean> {
  for (const { address, signature } of others) {
    if (signature === undefined || !(await isSignedBy(address, signature, message))) return false;
  }
  return others.length > 0;
}

function checkSigners(
  { signers, usesLookupTables }: SvmTransactionView,
  { feePayer }: ExpectedTransfer,
  { maxSignatures }: SvmRuleLimits,
): RuleRefusal | undefined {
  if (usesLookupTables) {
    return refuse(
      'payload_transaction_could_not_be_decoded',
      'a transaction with address lookup tables is not accepted',
    );
  }
  if (signers[0]?.address !== feePayer) {
    return refuse('fee_payer_mismatch', `the fee payer of the transaction must be ${feePayer}`);
  }
  if (signers.length > maxSignatures) {
    return refuse('payload_excessive_signers', `at most ${maxSignatures} signatures are paid for`);
  }
  return undefined;
}

function checkComputeBudget(
  { instructions }: SvmTransactionView,
  { maxComputeUnits, maxComputeUnitPrice }: SvmRuleLimits,
): RuleRefusal | undefined {
  if (instructions.length < FIXED_INSTRUCTIONS || instructions.length > MAX_INSTRUCTIONS) {
    return refuse(
      'payload_transaction_instructions_length',
      `${FIXED_INSTRUCTIONS} to ${MAX_INSTRUCTIONS} instructions are accepted`,
    );
  }
  const code = 'payload_transaction_instructions_compute';
  const units = readComputeBudget(instructions[0], SET_COMPUTE_UNIT_LIMIT, 5);
  if (!units) return refuse(`${code}_limit_instruction`, 'the first instruction must limit compute units');
  if (units.readUInt32LE(1) > maxComputeUnits) {
    return refuse(
      `${code}_limit_instruction_too_high`,
      `at most ${maxComputeUnits} compute units are paid for`,
    );
  }
  const price = readComputeBudget(instructions[1], SET_COMPUTE_UNIT_PRICE, 9);
  if (!price) return refuse(`${code}_price_instruction`, 'the second instruction must price compute units');
  if (price.readBigUInt64LE(1) > maxComputeUnitPrice) {
    return refuse(
      `${code}_price_instruction_too_high`,
      `at most ${maxComputeUnitPrice} micro-lamports are paid for a compute unit`,
    );
  }
  return undefined;
}

function readComputeBudget(
  instruction: SvmInstruction | undefined,
  discriminator: number,
  bytes: number,
): Buffer | undefined {
  const fits =
    instruction?.program === COMPUTE_BUDGET_PROGRAM &&
    instruction.accounts.length === 0 &&
    instruction.data.length === bytes &&
    instruction.data[0] === discriminator;
  return fits ? Buffer.from(instruction.data) : undefined;
}

function checkTransfer(
  transfer: TokenTransfer | undefined,
  expected: ExpectedTransfer,
): RuleRefusal | undefined {
  if (transfer?.index !== FIXED_INSTRUCTIONS - 1) {
    return refuse('payload_no_transfer_instruction', 'the third instruction must be a plain TransferChecked');
  }
  if (transfer.authority === expected.feePayer || transfer.source === expected.feePayer) {
    return refuse(
      'payload_transaction_fee_payer_transferring_funds',
      'the fee payer must not be the one who pays',
    );
  }
  if (transfer.mint !== expected.mint || transfer.program !== expected.tokenProgram) {
    return refuse('payload_mint_mismatch', `the mint must be ${expected.mint}`);
  }
  if (transfer.destination !== expected.destination) {
    return refuse('payload_recipient_mismatch', `the money must go to ${expected.destination}`);
  }
  if (transfer.amountBaseUnits !== expected.amountBaseUnits || transfer.decimals !== expected.decimals) {
    return refuse('payload_amount_mismatch', 'the transferred amount is not the one to be paid');
  }
  // What the transaction says and what was read from it before are one and the same.
  if (transfer.authority !== expected.payer || transfer.source !== expected.source) {
    return refuse('payload_no_transfer_instruction', 'the transfer is not the payer’s');
  }
  return undefined;
}

/** The program asks for the authority's signature only where the message says that it signs. */
function checkPayerSigns(
  { signers }: SvmTransactionView,
  { payer }: ExpectedTransfer,
): RuleRefusal | undefined {
  return signers.slice(1).some(({ address }) => address === payer)
    ? undefined
    : refuse('payload_signature_invalid', 'the payer does not sign the transaction');
}

function checkOptional(instructions: readonly SvmInstruction[]): RuleRefusal | undefined {
  const index = instructions.findIndex(
    ({ program }) => program !== MEMO_PROGRAM && program !== LIGHTHOUSE_PROGRAM,
  );
  if (index < 0) return undefined;
  return refuse(
    `payload_unknown_${OPTIONAL_NAMES[index]}_instruction`,
    'after the transfer only memos and wallet assertions are accepted',
  );
}

function checkMemo(view: SvmTransactionView, { memo }: ExpectedTransfer): RuleRefusal | undefined {
  if (memo === undefined) return undefined;
  const [only, ...others] = findMemos(view);
  if (only === undefined || others.length > 0) {
    return refuse('payload_memo_count', 'the transaction must carry exactly one memo');
  }
  return only === memo ? undefined : refuse('payload_memo_mismatch', 'the memo is not the one of the offer');
}

/** Whoever signs for an account lends it to every instruction that names it: so none may name the fee payer. */
function checkIsolation(
  { instructions }: SvmTransactionView,
  { feePayer }: ExpectedTransfer,
): RuleRefusal | undefined {
  const isNamed = instructions.some(
    ({ program, accounts }) => program === feePayer || accounts.includes(feePayer),
  );
  return isNamed
    ? refuse('invalid_fee_payer', 'the fee payer must not be an account of any instruction')
    : undefined;
}
