import {
  type Address,
  address,
  appendTransactionMessageInstructions,
  type Blockhash,
  createSolanaRpc,
  createTransactionMessage,
  devnet,
  generateKeyPairSigner,
  getBase64EncodedWireTransaction,
  getSignatureFromTransaction,
  type Instruction,
  isSolanaError,
  type KeyPairSigner,
  pipe,
  setTransactionMessageFeePayerSigner,
  setTransactionMessageLifetimeUsingBlockhash,
  signTransactionMessageWithSigners,
} from '@solana/kit';
import { findAssociatedTokenPda, getApproveInstruction, TOKEN_PROGRAM_ADDRESS } from '@solana-program/token';
import type { PaymentPayload, PaymentRequirements } from '@x402/core/types';
import { USDC_MAINNET_ADDRESS } from '@x402/svm';
import { ExactSvmScheme } from '@x402/svm/exact/client';
import { type LocalSolana, type LocalSolanaOptions, startLocalSolana } from '../../src/local/solana-chain.ts';

export const SOLANA_MAINNET = 'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp';
export const SOLANA_USDC = address(USDC_MAINNET_ADDRESS);

/** A chain in the tests: confirmed almost at once, final after three seconds, expired after fifteen. */
const TEST_SLOT_MS = 100;

/** Starts a Solana of one's own, in less than half a second. */
export function startTestSolana(options: Partial<LocalSolanaOptions> = {}): Promise<LocalSolana> {
  return startLocalSolana({
    mint: { address: SOLANA_USDC, decimals: 6 },
    slotMs: TEST_SLOT_MS,
    log: () => undefined,
    ...options,
  });
}

/** The published client for a chain; typed as devnet's because the local chain gives SOL away as devnet does. */
export function connectSolana(chain: Pick<LocalSolana, 'rpcUrl'>) {
  return createSolanaRpc(devnet(chain.rpcUrl));
}

export type SolanaRpc = ReturnType<typeof connectSolana>;

/** A wallet with SOL for a hundred transactions and this many base units of test dollars. */
export async function fundedSolanaWallet(
  chain: LocalSolana,
  amountBaseUnits: bigint,
): Promise<KeyPairSigner> {
  const wallet = await generateKeyPairSigner();
  await Promise.all([
    chain.airdrop(wallet.address, 100_000_000n),
    chain.mint(wallet.address, amountBaseUnits),
  ]);
  return wallet;
}

/** Where a wallet's test dollars are. */
export async function solanaTokenAccount(owner: string, mint: Address = SOLANA_USDC): Promise<Address> {
  const [account] = await findAssociatedTokenPda({
    owner: address(owner),
    mint,
    tokenProgram: TOKEN_PROGRAM_ADDRESS,
  });
  return account;
}

/** @returns base units; 0 where there is no token account. */
export async function solanaUsdcBalance(chain: Pick<LocalSolana, 'rpcUrl'>, owner: string): Promise<bigint> {
  const account = await solanaTokenAccount(owner);
  const rpc = connectSolana(chain);
  if ((await rpc.getAccountInfo(account, { encoding: 'base64' }).send()).value === null) return 0n;
  return BigInt((await rpc.getTokenAccountBalance(account).send()).value.amount);
}

export interface SignedSolanaTransaction {
  wire: ReturnType<typeof getBase64EncodedWireTransaction>;
  signature: ReturnType<typeof getSignatureFromTransaction>;
}

/** A transaction that `payer` pays for, signed by everybody it names as a signer. */
export async function signSolanaTransaction(
  chain: LocalSolana,
  payer: KeyPairSigner,
  instructions: readonly Instruction[],
  options: { version?: 0 | 'legacy'; blockhash?: Blockhash } = {},
): Promise<SignedSolanaTransaction> {
  const { value: latest } = await connectSolana(chain).getLatestBlockhash().send();
  const lifetime = options.blockhash ? { ...latest, blockhash: options.blockhash } : latest;
  const message = pipe(
    // The client builds both in the same way; its types allow only one version at a time.
    createTransactionMessage({ version: (options.version ?? 0) as 0 }),
    m => setTransactionMessageFeePayerSigner(payer, m),
    m => setTransactionMessageLifetimeUsingBlockhash(lifetime, m),
    m => appendTransactionMessageInstructions(instructions, m),
  );
  const signed = await signTransactionMessageWithSigners(message);
  return {
    wire: getBase64EncodedWireTransaction(signed),
    signature: getSignatureFromTransaction(signed),
  };
}

/** Lets the delegate move so many base units of the owner's test dollars. */
export async function approveDelegate(
  chain: LocalSolana,
  owner: KeyPairSigner,
  delegate: KeyPairSigner,
  amount: bigint,
): Promise<void> {
  const source = await solanaTokenAccount(owner.address);
  const allowance = getApproveInstruction({ source, delegate: delegate.address, owner, amount });
  const { wire, signature } = await signSolanaTransaction(chain, owner, [allowance]);
  await connectSolana(chain).sendTransaction(wire, { encoding: 'base64' }).send();
  await chain.waitUntilConfirmed(signature);
}

/** What is wrong with the transaction: the innermost number that the client makes of the answer. */
export async function solanaRefusal(sending: Promise<unknown>): Promise<number> {
  const error = await sending.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isSolanaError(error)) throw new Error('the transaction was not refused', { cause: error });
  const { ['__code']: code } = isSolanaError(error.cause) ? error.cause.context : error.context;
  return code;
}

/** What a seller asks for on Solana; `feePayer` pays the fee, every offer has a memo of its own. */
export function solanaRequirements(order: {
  payTo: string;
  feePayer: string;
  amountBaseUnits: bigint;
  memo?: string;
}): PaymentRequirements {
  return {
    scheme: 'exact',
    network: SOLANA_MAINNET,
    asset: SOLANA_USDC,
    amount: order.amountBaseUnits.toString(),
    payTo: order.payTo,
    maxTimeoutSeconds: 60,
    extra: { feePayer: order.feePayer, ...(order.memo === undefined ? {} : { memo: order.memo }) },
  };
}

/** Pays as the published client does: a transaction that lacks only the fee payer's signature. */
export async function signSolanaPayment(
  chain: LocalSolana,
  wallet: KeyPairSigner,
  requirements: PaymentRequirements,
): Promise<PaymentPayload> {
  const client = new ExactSvmScheme(wallet, { rpcUrl: chain.rpcUrl });
  const { payload } = await client.createPaymentPayload(2, requirements);
  return {
    x402Version: 2,
    accepted: requirements,
    payload,
    resource: { url: 'http://127.0.0.1:4020/', description: '', mimeType: 'application/json' },
  };
}
