import { randomBytes } from 'node:crypto';
import {
  AccountRole,
  type Address,
  address,
  appendTransactionMessageInstructions,
  type Blockhash,
  blockhash,
  createKeyPairSignerFromPrivateKeyBytes,
  createTransactionMessage,
  getBase58Decoder,
  getBase64EncodedWireTransaction,
  type Instruction,
  type KeyPairSigner,
  partiallySignTransactionMessageWithSigners,
  pipe,
  setTransactionMessageFeePayer,
  setTransactionMessageLifetimeUsingBlockhash,
} from '@solana/kit';
import { getTransferCheckedInstruction } from '@solana-program/token';
import { findSvmNetwork, type SvmNetwork } from '../../src/chains/svm-networks.ts';
import { associatedTokenAccount } from '../../src/lib/svm-address.ts';
import { MEMO_PROGRAM } from '../../src/lib/svm-memo.ts';

export const SOLANA = 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp';
export const LIGHTHOUSE = address('L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95');
export const COMPUTE_BUDGET = address('ComputeBudget111111111111111111111111111111');

export function solanaNetwork(): SvmNetwork {
  const network = findSvmNetwork(SOLANA);
  if (!network) throw new Error('Solana is not in the table of networks');
  return network;
}

/** A key that nothing was ever sent to. */
export function newSigner(): Promise<KeyPairSigner> {
  return createKeyPairSignerFromPrivateKeyBytes(randomBytes(32));
}

export const randomAddress = (): Address => address(getBase58Decoder().decode(randomBytes(32)));
export const randomBlockhash = (): Blockhash => blockhash(getBase58Decoder().decode(randomBytes(32)));

export function tokenAccountOf(owner: string, network = solanaNetwork()): Address {
  return address(associatedTokenAccount(owner, network.usdc.address, network.usdc.tokenProgram));
}

export function computeLimit(units: number): Instruction {
  const data = Buffer.alloc(5);
  data.writeUInt8(2);
  data.writeUInt32LE(units, 1);
  return { programAddress: COMPUTE_BUDGET, data };
}

export function computePrice(microLamports: bigint): Instruction {
  const data = Buffer.alloc(9);
  data.writeUInt8(3);
  data.writeBigUInt64LE(microLamports, 1);
  return { programAddress: COMPUTE_BUDGET, data };
}

export function memo(text: string, signer?: Address): Instruction {
  const accounts = signer === undefined ? [] : [{ address: signer, role: AccountRole.READONLY_SIGNER }];
  return { programAddress: address(MEMO_PROGRAM), accounts, data: Buffer.from(text) };
}

export interface TransferOptions {
  payer: KeyPairSigner;
  payTo: string;
  amount: bigint;
  decimals?: number;
  mint?: Address;
  source?: Address;
  destination?: Address;
  tokenProgram?: Address;
}

export function transfer({ payer, payTo, amount, ...rest }: TransferOptions): Instruction {
  const { usdc } = solanaNetwork();
  return getTransferCheckedInstruction(
    {
      source: rest.source ?? tokenAccountOf(payer.address),
      mint: rest.mint ?? address(usdc.address),
      destination: rest.destination ?? tokenAccountOf(payTo),
      authority: payer,
      amount,
      decimals: rest.decimals ?? usdc.decimals,
    },
    { programAddress: rest.tokenProgram ?? address(usdc.tokenProgram) },
  );
}

export interface BuildOptions {
  feePayer: string;
  instructions: readonly Instruction[];
  blockhash?: Blockhash;
  version?: 'legacy' | 0;
}

/** Signs with every signer that the instructions bring; the fee payer's place stays empty. */
export async function buildTransaction(options: BuildOptions): Promise<string> {
  const { feePayer, instructions } = options;
  const lifetime = {
    blockhash: options.blockhash ?? randomBlockhash(),
    lastValidBlockHeight: 0n,
  };
  const message = pipe(
    // The types of the two versions differ in what they allow; what is built here is allowed in both.
    createTransactionMessage({ version: (options.version ?? 0) as 0 }),
    m => setTransactionMessageFeePayer(address(feePayer), m),
    m => setTransactionMessageLifetimeUsingBlockhash(lifetime, m),
    m => appendTransactionMessageInstructions(instructions, m),
  );
  return getBase64EncodedWireTransaction(await partiallySignTransactionMessageWithSigners(message));
}

/** What the published client builds: limit, price, transfer, memo. */
export function paymentInstructions(options: TransferOptions & { memo?: string }): Instruction[] {
  return [
    computeLimit(20_000),
    computePrice(1n),
    transfer(options),
    memo(options.memo ?? randomBytes(16).toString('hex')),
  ];
}
