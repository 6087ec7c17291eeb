import { createHash, randomUUID } from 'node:crypto';
import {
  AccountRole,
  type Address,
  appendTransactionMessageInstructions,
  type Blockhash,
  createKeyPairSignerFromPrivateKeyBytes,
  createTransactionMessage,
  getBase64EncodedWireTransaction,
  getU64Encoder,
  type Instruction,
  type KeyPairSigner,
  pipe,
  setTransactionMessageFeePayerSigner,
  setTransactionMessageLifetimeUsingBlockhash,
  signTransactionMessageWithSigners,
} from '@solana/kit';
import {
  findAssociatedTokenPda,
  getCreateAssociatedTokenIdempotentInstructionAsync,
  getMintEncoder,
  getMintToInstruction,
  TOKEN_PROGRAM_ADDRESS,
} from '@solana-program/token';
import { addressBytes } from '../../lib/svm-address.ts';
import type { Bank } from './bank.ts';
import type { Litesvm } from './litesvm.ts';
import { decodeTransaction } from './transaction.ts';

/** The mint that the chain carries at its real address. */
export interface LocalMint {
  address: string;
  decimals: number;
}

/** Gives money away, in transactions like any other. */
export interface Treasury {
  mintAuthority: string;
  /** Creates the owner's token account where there is none, and puts new tokens into it. @returns signature */
  mint(owner: string, amountBaseUnits: bigint): Promise<string>;
  airdrop(address: string, lamports: bigint): Promise<string>;
}

const SYSTEM_PROGRAM = '11111111111111111111111111111111' as Address;
const MEMO_PROGRAM = 'MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr' as Address;
const SYSTEM_TRANSFER = 2;

/** Five million SOL: no sum on this chain is too large for a JSON number. */
const FAUCET_LAMPORTS = 5_000_000_000_000_000n;

export async function createTreasury(options: {
  litesvm: Litesvm;
  bank: Bank;
  mint: LocalMint;
  seed: string;
  /** A new chain, which must be given its mint. */
  fresh: boolean;
}): Promise<Treasury> {
  const { litesvm, bank, mint, seed } = options;
  const mintAuthority = await signerOf(seed, 'mint authority');
  const faucet = await signerOf(seed, 'faucet');
  const mintAddress = mint.address as Address;
  const { Account } = litesvm;

  function setAccount(address: Address, lamports: bigint, data: Uint8Array, owner: Address): void {
    bank.setAccount(address, new Account(lamports, data, addressBytes(owner), false, 2n ** 64n - 1n));
  }

  function fillFaucet(): void {
    setAccount(faucet.address, FAUCET_LAMPORTS, new Uint8Array(), SYSTEM_PROGRAM);
  }

  function putMint(): void {
    const data = getMintEncoder().encode({
      mintAuthority: mintAuthority.address,
      supply: 0n,
      decimals: mint.decimals,
      isInitialized: true,
      freezeAuthority: null,
    });
    const rent = BigInt(bank.rentExemption(data.length));
    setAccount(mintAddress, rent, Uint8Array.from(data), TOKEN_PROGRAM_ADDRESS);
  }

  /** The memo makes two equal gifts in one slot two transactions. */
  async function send(instructions: readonly Instruction[]): Promise<string> {
    const memo = { programAddress: MEMO_PROGRAM, data: Buffer.from(randomUUID()) };
    const blockhash = bank.slots.blockhash(bank.slots.advance()) as Blockhash;
    const message = pipe(
      createTransactionMessage({ version: 0 }),
      m => setTransactionMessageFeePayerSigner(faucet, m),
      m => setTransactionMessageLifetimeUsingBlockhash({ blockhash, lastValidBlockHeight: 0n }, m),
      m => appendTransactionMessageInstructions([...instructions, memo], m),
    );
    const signed = getBase64EncodedWireTransaction(await signTransactionMessageWithSigners(message));
    return bank.submit(decodeTransaction(signed, 'base64'), 'processed');
  }

  if (options.fresh) {
    fillFaucet();
    putMint();
  }
  return {
    mintAuthority: mintAuthority.address,
    async mint(owner, amount) {
      const [token] = await findAssociatedTokenPda({
        mint: mintAddress,
        owner: owner as Address,
        tokenProgram: TOKEN_PROGRAM_ADDRESS,
      });
      const create = await getCreateAssociatedTokenIdempotentInstructionAsync({
        payer: faucet,
        owner: owner as Address,
        mint: mintAddress,
      });
      return send([create, getMintToInstruction({ mint: mintAddress, token, mintAuthority, amount })]);
    },
    airdrop(address, lamports) {
      if ((bank.account(faucet.address)?.lamports() ?? 0n) < lamports * 2n) fillFaucet();
      return send([transferSol(faucet, address as Address, lamports)]);
    },
  };
}

function transferSol(from: KeyPairSigner, to: Address, lamports: bigint): Instruction {
  const data = Buffer.concat([
    Buffer.from([SYSTEM_TRANSFER, 0, 0, 0]),
    Uint8Array.from(getU64Encoder().encode(lamports)),
  ]);
  const accounts = [
    { address: from.address, role: AccountRole.WRITABLE_SIGNER, signer: from },
    { address: to, role: AccountRole.WRITABLE },
  ];
  return { programAddress: SYSTEM_PROGRAM, accounts, data };
}

/** The chain's own keys follow from its seed, so that they come back with it. */
function signerOf(seed: string, purpose: string): Promise<KeyPairSigner> {
  return createKeyPairSignerFromPrivateKeyBytes(createHash('sha256').update(`${seed} ${purpose}`).digest());
}
