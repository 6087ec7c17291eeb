import { AccountRole, address, type Instruction, type KeyPairSigner } from '@solana/kit';
import { getTransferInstruction, TOKEN_PROGRAM_ADDRESS } from '@solana-program/token';
import type { PaymentPayload, PaymentRequirements } from '@x402/core/types';
import { ExactSvmScheme } from '@x402/svm/exact/facilitator';
import { beforeAll, describe, expect, it } from 'vitest';
import { svmChecks } from '../../../src/facilitators/svm-checks.ts';
import { checkSvmTransaction, isSignedByPayer } from '../../../src/facilitators/svm-rules.ts';
import { associatedTokenAccount } from '../../../src/lib/svm-address.ts';
import { TOKEN_2022_PROGRAM } from '../../../src/lib/svm-token.ts';
import { readSvmTransaction } from '../../../src/lib/svm-transaction.ts';
import type { SolanaPayment } from '../../../src/ports/payment.ts';
import {
  buildTransaction,
  computeLimit,
  computePrice,
  LIGHTHOUSE,
  memo,
  newSigner,
  randomAddress,
  SOLANA,
  solanaNetwork,
  tokenAccountOf,
  transfer,
} from '../../support/svm-transaction.ts';

const { usdc, limits } = solanaNetwork();
const AMOUNT = 5_000_000n;
const MEMO = '0123456789abcdef0123456789abcdef';
const payTo = randomAddress();

let payer: KeyPairSigner;
let feePayer: KeyPairSigner;
let stranger: KeyPairSigner;

beforeAll(async () => {
  [payer, feePayer, stranger] = await Promise.all([newSigner(), newSigner(), newSigner()]);
});

const pay = (changes: Partial<Parameters<typeof transfer>[0]> = {}) =>
  transfer({ payer, payTo, amount: AMOUNT, ...changes });
const assertion = (accounts: string[] = []): Instruction => ({
  programAddress: LIGHTHOUSE,
  accounts: accounts.map(each => ({ address: address(each), role: AccountRole.READONLY })),
  data: Buffer.of(1),
});
const good = (): Instruction[] => [computeLimit(20_000), computePrice(1n), pay(), memo(MEMO)];
const replaced = (at: number, instruction: Instruction) => good().with(at, instruction);

interface Case {
  instructions: Instruction[];
  feePayer?: string;
  expectedMemo?: string | undefined;
}

/** Our own verdict: an x402 code, or undefined when the fee payer may sign. */
async function judge({ instructions, feePayer: paidBy, ...rest }: Case): Promise<string | undefined> {
  const wire = await buildTransaction({ feePayer: paidBy ?? feePayer.address, instructions });
  const view = readSvmTransaction(Buffer.from(wire, 'base64'));
  if (!view) throw new Error('the transaction cannot be read');
  const refusal = checkSvmTransaction(
    view,
    {
      feePayer: feePayer.address,
      payer: payer.address,
      mint: usdc.address,
      tokenProgram: usdc.tokenProgram,
      decimals: usdc.decimals,
      source: tokenAccountOf(payer.address),
      destination: tokenAccountOf(payTo),
      amountBaseUnits: AMOUNT,
      memo: 'expectedMemo' in rest ? rest.expectedMemo : MEMO,
    },
    limits,
  );
  if (refusal) return refusal.reason;
  return (await isSignedByPayer(view)) ? undefined : 'invalid_exact_svm_payload_signature_invalid';
}

/** The verdict of the published facilitator with the same limits, every rehearsal succeeding. */
async function judgePublished({
  instructions,
  feePayer: paidBy,
  ...rest
}: Case): Promise<string | undefined> {
  const expectedMemo = 'expectedMemo' in rest ? rest.expectedMemo : MEMO;
  const accepted: PaymentRequirements = {
    scheme: 'exact',
    network: SOLANA,
    amount: AMOUNT.toString(),
    asset: usdc.address,
    payTo,
    maxTimeoutSeconds: 60,
    extra: { feePayer: feePayer.address, ...(expectedMemo === undefined ? {} : { memo: expectedMemo }) },
  };
  const transaction = await buildTransaction({ feePayer: paidBy ?? feePayer.address, instructions });
  const payload: PaymentPayload = { x402Version: 2, accepted, payload: { transaction } };
  const never = () => Promise.reject(new Error('verification never does this'));
  const scheme = new ExactSvmScheme(
    {
      getAddresses: () => [feePayer.address],
      signTransaction: never,
      simulateTransaction: () => Promise.resolve(),
      sendTransaction: never,
      confirmTransaction: never,
    },
    undefined,
    {
      maxPriorityFeeMicroLamports: Number(limits.maxComputeUnitPrice),
      maxComputeUnits: limits.maxComputeUnits,
      maxRequiredSignatures: limits.maxSignatures,
    },
  );
  return (await scheme.verify(payload, accepted)).invalidReason;
}

describe('a transaction that the fee payer may sign', () => {
  it.each<[string, () => Case]>([
    ['the published client’s', () => ({ instructions: good() })],
    [
      'without a memo where none is demanded',
      () => ({ instructions: good().slice(0, 3), expectedMemo: undefined }),
    ],
    ['with one wallet assertion', () => ({ instructions: [...good(), assertion()] })],
    [
      'with three wallet assertions around the memo',
      () => ({ instructions: [...good().slice(0, 3), assertion(), memo(MEMO), assertion(), assertion()] }),
    ],
    [
      'at the limits',
      () => ({ instructions: [computeLimit(200_000), computePrice(100_000n), pay(), memo(MEMO)] }),
    ],
  ])('%s', async (_, make) => {
    expect(await judge(make())).toBeUndefined();
    expect(await judgePublished(make())).toBeUndefined();
  });
});

describe('a transaction that it must not sign, with the published facilitator’s own code', () => {
  it.each<[string, string, () => Case]>([
    [
      'too few instructions',
      'payload_transaction_instructions_length',
      () => ({ instructions: good().slice(0, 2) }),
    ],
    [
      'too many instructions',
      'payload_transaction_instructions_length',
      () => ({ instructions: [...good(), assertion(), assertion(), assertion(), assertion()] }),
    ],
    ['another fee payer', 'fee_payer_mismatch', () => ({ instructions: good(), feePayer: stranger.address })],
    [
      'the payer as the fee payer',
      'fee_payer_mismatch',
      () => ({ instructions: good(), feePayer: payer.address }),
    ],
    [
      'a third signature',
      'payload_excessive_signers',
      () => ({ instructions: replaced(3, memo(MEMO, stranger.address)) }),
    ],
    [
      'no compute limit first',
      'payload_transaction_instructions_compute_limit_instruction',
      () => ({ instructions: [computePrice(1n), computeLimit(20_000), pay(), memo(MEMO)] }),
    ],
    [
      'a compute limit over ours',
      'payload_transaction_instructions_compute_limit_instruction_too_high',
      () => ({ instructions: replaced(0, computeLimit(200_001)) }),
    ],
    [
      'the same limit twice',
      'payload_transaction_instructions_compute_price_instruction',
      () => ({ instructions: replaced(1, computeLimit(20_000)) }),
    ],
    [
      'a priority fee over ours',
      'payload_transaction_instructions_compute_price_instruction_too_high',
      () => ({ instructions: replaced(1, computePrice(100_001n)) }),
    ],
    [
      'a priority fee of everything',
      'payload_transaction_instructions_compute_price_instruction_too_high',
      () => ({ instructions: replaced(1, computePrice(2n ** 64n - 1n)) }),
    ],
    [
      'an unchecked transfer',
      'payload_no_transfer_instruction',
      () => ({
        instructions: replaced(
          2,
          getTransferInstruction({
            source: tokenAccountOf(payer.address),
            destination: tokenAccountOf(payTo),
            authority: payer,
            amount: AMOUNT,
          }),
        ),
      }),
    ],
    [
      'the transfer in another place',
      'payload_no_transfer_instruction',
      () => ({ instructions: [computeLimit(20_000), computePrice(1n), memo(MEMO), pay()] }),
    ],
    [
      'the fee payer’s own money',
      'payload_transaction_fee_payer_transferring_funds',
      () => ({ instructions: replaced(2, pay({ payer: feePayer })) }),
    ],
    [
      'another mint',
      'payload_mint_mismatch',
      () => ({ instructions: replaced(2, pay({ mint: randomAddress() })) }),
    ],
    [
      'another destination',
      'payload_recipient_mismatch',
      () => ({ instructions: replaced(2, pay({ destination: tokenAccountOf(stranger.address) })) }),
    ],
    [
      'the receiver’s wallet instead of its token account',
      'payload_recipient_mismatch',
      () => ({ instructions: replaced(2, pay({ destination: payTo })) }),
    ],
    [
      'a unit less',
      'payload_amount_mismatch',
      () => ({ instructions: replaced(2, pay({ amount: AMOUNT - 1n })) }),
    ],
    [
      'a unit more',
      'payload_amount_mismatch',
      () => ({ instructions: replaced(2, pay({ amount: AMOUNT + 1n })) }),
    ],
    ['a second transfer', 'payload_unknown_fourth_instruction', () => ({ instructions: replaced(3, pay()) })],
    [
      'an instruction of another program at the end',
      'payload_unknown_fifth_instruction',
      () => ({ instructions: [...good(), { programAddress: randomAddress(), data: Buffer.of(1) }] }),
    ],
    [
      'a heap request',
      'payload_unknown_fifth_instruction',
      () => ({ instructions: [...good(), { ...computeLimit(1), data: Buffer.of(1, 0, 0, 4, 0) }] }),
    ],
    ['no memo', 'payload_memo_count', () => ({ instructions: good().slice(0, 3) })],
    ['two memos', 'payload_memo_count', () => ({ instructions: [...good(), memo(MEMO)] })],
    ['another memo', 'payload_memo_mismatch', () => ({ instructions: replaced(3, memo('another')) })],
  ])('%s', async (_, code, make) => {
    expect(await judge(make())).toBe(`invalid_exact_svm_${code}`);
    expect(await judgePublished(make())).toBe(`invalid_exact_svm_${code}`);
  });
});

describe('a transaction that only we refuse', () => {
  it.each<[string, string, () => Case]>([
    [
      'the fee payer as the signer of a memo',
      'invalid_fee_payer',
      () => ({ instructions: replaced(3, memo(MEMO, feePayer.address)) }),
    ],
    [
      'the fee payer as an account of a wallet assertion',
      'invalid_fee_payer',
      () => ({ instructions: [...good(), assertion([feePayer.address])] }),
    ],
    [
      'the other token program',
      'payload_mint_mismatch',
      () => ({ instructions: replaced(2, pay({ tokenProgram: address(TOKEN_2022_PROGRAM) })) }),
    ],
    [
      'accounts of several owners behind the transfer',
      'payload_no_transfer_instruction',
      () => {
        const plain = pay();
        const accounts = [
          ...(plain.accounts ?? []),
          { address: randomAddress(), role: AccountRole.READONLY },
        ];
        return { instructions: replaced(2, { ...plain, accounts }) };
      },
    ],
    [
      'other decimals',
      'payload_amount_mismatch',
      () => ({ instructions: replaced(2, pay({ decimals: 9 })) }),
    ],
    [
      'money of an account that was not read before',
      'payload_no_transfer_instruction',
      () => ({ instructions: replaced(2, pay({ source: randomAddress() })) }),
    ],
  ])('%s', async (_, code, make) => {
    expect(await judge(make())).toBe(`invalid_exact_svm_${code}`);
  });
});

it('a transaction that the payer has not signed, or somebody else has, is nobody’s', async () => {
  const wire = Buffer.from(
    await buildTransaction({ feePayer: feePayer.address, instructions: good() }),
    'base64',
  );
  const unsigned = Uint8Array.from(wire);
  unsigned.fill(0, 1 + 64, 1 + 128);
  const forged = Uint8Array.from(wire);
  forged[1 + 64] = (forged[1 + 64] ?? 0) ^ 1;
  for (const bytes of [unsigned, forged]) {
    const view = readSvmTransaction(bytes);
    expect(view && (await isSignedByPayer(view))).toBe(false);
  }
  expect(usdc.tokenProgram).toBe(TOKEN_PROGRAM_ADDRESS);
});

it('a mint of the other token program is paid through that program, where the network says so', async () => {
  const mint = randomAddress();
  const account = (owner: string) => address(associatedTokenAccount(owner, mint, TOKEN_2022_PROGRAM));
  const accounts = { source: account(payer.address), destination: account(payTo) };
  const instructions = replaced(2, pay({ mint, ...accounts, tokenProgram: address(TOKEN_2022_PROGRAM) }));
  const wire = await buildTransaction({ feePayer: feePayer.address, instructions });
  const view = readSvmTransaction(Buffer.from(wire, 'base64'));
  if (!view) throw new Error('the transaction cannot be read');
  const expected = {
    ...accounts,
    feePayer: feePayer.address,
    payer: payer.address,
    mint,
    decimals: usdc.decimals,
    amountBaseUnits: AMOUNT,
    memo: MEMO,
  };
  expect(
    checkSvmTransaction(view, { ...expected, tokenProgram: TOKEN_2022_PROGRAM }, limits),
  ).toBeUndefined();
  expect(checkSvmTransaction(view, { ...expected, tokenProgram: usdc.tokenProgram }, limits)?.reason).toBe(
    'invalid_exact_svm_payload_mint_mismatch',
  );
});

describe('whoever settles', () => {
  async function termsOf(instructions: Instruction[]): Promise<string | undefined> {
    const wire = await buildTransaction({ feePayer: feePayer.address, instructions });
    const view = readSvmTransaction(Buffer.from(wire, 'base64'));
    const payment = { kind: 'solana', identity: `svm:any:${view?.messageHash}`, transaction: { wire } };
    return svmChecks.checkTerms(payment as SolanaPayment)?.reason;
  }

  it('a payment that never ends, because it names a durable nonce, is refused', async () => {
    const advance: Instruction = {
      programAddress: address('11111111111111111111111111111111'),
      accounts: [
        { address: address(randomAddress()), role: AccountRole.WRITABLE },
        { address: payer.address, role: AccountRole.READONLY_SIGNER },
      ],
      data: Buffer.of(4, 0, 0, 0),
    };
    expect(await termsOf([advance, ...good()])).toBe('invalid_exact_svm_payload_transaction_instructions');
    expect(await termsOf(good())).toBeUndefined();
  });
});
