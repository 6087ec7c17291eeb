import type { SvmMessage } from '../../lib/svm-message.ts';

const LAMPORTS_PER_SIGNATURE = 5_000;
const MAX_COMPUTE_UNITS = 1_400_000;
const UNITS_OF_BUILTIN = 3_000;
const UNITS_OF_PROGRAM = 200_000;
const MICROLAMPORTS = 1_000_000n;

const COMPUTE_BUDGET = 'ComputeBudget111111111111111111111111111111';
const SET_UNIT_LIMIT = 2;
const SET_UNIT_PRICE = 3;

/** Programs whose default share of the compute budget is small. */
const BUILTINS = new Set([
  COMPUTE_BUDGET,
  '11111111111111111111111111111111',
  'Vote111111111111111111111111111111111111111',
  'BPFLoader2111111111111111111111111111111111',
  'BPFLoaderUpgradeab1e11111111111111111111111',
  'LoaderV411111111111111111111111111111111111',
]);

/** What the fee payer is charged, in lamports: a fee for each signature and the priority fee, rounded up. */
export function feeOf(message: SvmMessage): number {
  let limit: number | undefined;
  let price = 0n;
  let defaultLimit = 0;
  for (const instruction of message.instructions) {
    const program = message.staticAccounts[instruction.programAddressIndex] ?? '';
    defaultLimit += BUILTINS.has(program) ? UNITS_OF_BUILTIN : UNITS_OF_PROGRAM;
    if (program !== COMPUTE_BUDGET) continue;
    const data = Buffer.from(instruction.data);
    if (data[0] === SET_UNIT_LIMIT && data.length >= 5) limit = data.readUInt32LE(1);
    if (data[0] === SET_UNIT_PRICE && data.length >= 9) price = data.readBigUInt64LE(1);
  }
  const units = Math.min(limit ?? defaultLimit, MAX_COMPUTE_UNITS);
  const priority = (price * BigInt(units) + MICROLAMPORTS - 1n) / MICROLAMPORTS;
  return message.header.numSignerAccounts * LAMPORTS_PER_SIGNATURE + Number(priority);
}
