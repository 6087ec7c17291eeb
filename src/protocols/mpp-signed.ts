import { decodeFunctionData, keccak256 } from 'viem';
import { Abis, Transaction } from 'viem/tempo';
import { failed } from './mpp-refusal.ts';

/** A transfer that its payer has signed and that we are to send. */
export interface SignedTransfer {
  /** The key that signed the bytes. */
  payer: string;
  /** Of the transaction. */
  hash: string;
  /** Unix seconds at which the chain stops taking it. */
  validBefore: bigint;
  memo: string;
}

/** What has to be signed; addresses in lower case. */
export interface DemandedTransfer {
  token: string;
  recipient: string;
  amountBaseUnits: bigint;
  /** Whether a memo names this server and this challenge. */
  isMemo: (memo: string) => boolean;
  chainId: number;
  /** The challenge's end: ISO time. */
  expires: string;
}

type TempoTransaction = ReturnType<typeof Transaction.deserialize<Transaction.TransactionSerializedTempo>>;
type Call = NonNullable<TempoTransaction['calls']>[number];

/**
 * Reads a signed transaction.
 * @param raw 0x hex
 * @throws MppRefusal when it is not signed by a key of its own for exactly this transfer, or could wait for longer than
 * the challenge is good for
 */
export function readSignedTransfer(raw: string, demanded: DemandedTransfer): SignedTransfer {
  const transaction = deserialize(raw);
  const memo = transaction?.calls
    ?.map(call => readMemo(call, demanded))
    .find(each => each !== undefined && demanded.isMemo(each));
  if (!transaction || memo === undefined || transaction.chainId !== demanded.chainId) {
    throw failed('no transfer of this amount to this receiver is signed for this challenge');
  }
  const validBefore = BigInt(transaction.validBefore ?? 0);
  // One that lives for years would be open for as long, and be sent again and again.
  if (validBefore === 0n || validBefore * 1_000n > BigInt(Date.parse(demanded.expires))) {
    throw failed('the transaction must expire, and no later than its challenge');
  }
  return { payer: signerOf(transaction), hash: keccak256(raw as `0x${string}`), validBefore, memo };
}

/**
 * Only a signature of secp256k1 names its signer by itself. Of the others the chain alone knows whether they are good
 * and for whom (access keys name an account and prove nothing of it), and a transaction that a sponsor is still to sign
 * may carry any sender. Their owners can send the transaction themselves.
 */
function signerOf({ from, signature, feePayerSignature }: TempoTransaction): string {
  if (!from || signature?.type !== 'secp256k1' || feePayerSignature !== undefined) {
    throw failed(
      'the transaction must be signed by a secp256k1 key and pay its own gas; other wallets send it themselves',
    );
  }
  return from.toLowerCase();
}

function deserialize(raw: string): TempoTransaction | undefined {
  if (!/^0x76[0-9a-fA-F]*$/.test(raw)) return undefined;
  try {
    return Transaction.deserialize(raw as Transaction.TransactionSerializedTempo);
  } catch {
    return undefined;
  }
}

/** The memo of a call that moves exactly the amount to the receiver; undefined for any other call. */
function readMemo(
  { to, data }: Call,
  { token, recipient, amountBaseUnits }: DemandedTransfer,
): string | undefined {
  if (to?.toLowerCase() !== token || !data) return undefined;
  try {
    const { functionName, args } = decodeFunctionData({ abi: Abis.tip20, data });
    if (functionName !== 'transferWithMemo') return undefined;
    const [receiver, amount, memo] = args;
    return receiver.toLowerCase() === recipient && amount === amountBaseUnits
      ? memo.toLowerCase()
      : undefined;
  } catch {
    return undefined;
  }
}
