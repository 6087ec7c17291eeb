import { readSvmTransaction } from '../lib/svm-transaction.ts';
import type {
  SvmAccount,
  SvmClient,
  SvmCommitment,
  SvmExecutedTransaction,
  SvmSignatureStatus,
  SvmTokenBalance,
} from '../ports/svm-client.ts';
import { createJsonRpc, type JsonRpcAnswer, type JsonRpcOptions } from './json-rpc.ts';
import { joinStatusCalls } from './svm-statuses.ts';

export interface SvmClientOptions extends JsonRpcOptions {
  network: string;
}

interface WithContext<T> {
  context: { slot: number };
  value: T;
}

interface RpcStatus {
  slot: number;
  confirmations: number | null;
  err: unknown;
  confirmationStatus: SvmCommitment;
}

interface RpcTokenBalance {
  accountIndex: number;
  mint: string;
  owner?: string;
  uiTokenAmount: { amount: string };
}

interface RpcTransaction {
  slot: number;
  meta: {
    err: unknown;
    preTokenBalances?: RpcTokenBalance[] | null;
    postTokenBalances?: RpcTokenBalance[] | null;
  } | null;
  transaction: [string, 'base64'];
}

interface RpcAccount {
  owner: string;
  lamports: number;
  data: [string, 'base64'];
}

const STATUSES = 'getSignatureStatuses';
const CONFIRMED = { commitment: 'confirmed' } as const;

/** Reads and feeds a Solana node. */
export function createSvmClient(options: SvmClientOptions): SvmClient {
  const rpc = createJsonRpc(options);

  const request = <T>(method: string, params: unknown[]) => resultOf<T>(method, rpc.call(method, params));
  const share = <T>(method: string, params: unknown[]) => resultOf<T>(method, rpc.callShared(method, params));

  async function resultOf<T>(method: string, answer: Promise<JsonRpcAnswer>): Promise<T> {
    const { result, error } = await answer;
    if (error) throw rpc.refuse(method, error);
    return result as T;
  }

  const askStatuses = (searchTransactionHistory: boolean) => (signatures: readonly string[]) =>
    rpc.call(STATUSES, [signatures, { searchTransactionHistory }]);
  // A search of the history can take the node long: nobody is to wait for that of others.
  const allStatuses = askStatuses(true);
  const recentStatuses = joinStatusCalls(askStatuses(false));

  return {
    network: options.network,
    genesisHash: () => request<string>('getGenesisHash', []),
    slot: async commitment => BigInt(await request<number>('getSlot', [{ commitment }])),
    async account(address) {
      const config = { ...CONFIRMED, encoding: 'base64' };
      const { value } = await request<WithContext<RpcAccount | null>>('getAccountInfo', [address, config]);
      return value ? readAccount(value) : undefined;
    },
    async balance(address) {
      const { value } = await request<WithContext<number>>('getBalance', [address, CONFIRMED]);
      return BigInt(value);
    },
    async isBlockhashValid(blockhash, commitment) {
      const { context, value } = await request<WithContext<boolean>>('isBlockhashValid', [
        blockhash,
        { commitment },
      ]);
      return { slot: BigInt(context.slot), valid: value };
    },
    async signatureStatuses(signatures, searchHistory) {
      const { result, error } = await (searchHistory ? allStatuses : recentStatuses)(signatures);
      if (error) throw rpc.refuse(STATUSES, error);
      const { context, value } = result as WithContext<(RpcStatus | null)[]>;
      return {
        slot: BigInt(context.slot),
        statuses: value.map(status => (status ? readStatus(status) : undefined)),
      };
    },
    async history(address, { limit, before, minSlot }) {
      const config = {
        ...CONFIRMED,
        limit,
        ...(before === undefined ? {} : { before }),
        ...(minSlot === undefined ? {} : { minContextSlot: Number(minSlot) }),
      };
      const entries = await request<{ signature: string; slot: number; memo: string | null }[]>(
        'getSignaturesForAddress',
        [address, config],
      );
      return entries.map(({ signature, slot, memo }) => ({
        signature,
        slot: BigInt(slot),
        memo: memo ?? undefined,
      }));
    },
    async transaction(signature) {
      const config = { ...CONFIRMED, encoding: 'base64', maxSupportedTransactionVersion: 0 };
      const found = await share<RpcTransaction | null>('getTransaction', [signature, config]);
      return found ? readTransaction(found) : undefined;
    },
    firstAvailableSlot: async () => BigInt(await request<number>('getFirstAvailableBlock', [])),
    async simulate(wire) {
      const config = { ...CONFIRMED, encoding: 'base64', sigVerify: false, replaceRecentBlockhash: false };
      const { context, value } = await share<WithContext<{ err: unknown }>>('simulateTransaction', [
        toBase64(wire),
        config,
      ]);
      return { slot: BigInt(context.slot), error: value.err ?? undefined };
    },
    async send(wire) {
      // It was rehearsed before it was signed; a second rehearsal by the node would only cost time.
      await share<string>('sendTransaction', [toBase64(wire), { encoding: 'base64', skipPreflight: true }]);
    },
  };
}

const toBase64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

const fromBase64 = ([text]: readonly [string, string]): Uint8Array =>
  Uint8Array.from(Buffer.from(text, 'base64'));

function readAccount({ owner, lamports, data }: RpcAccount): SvmAccount {
  return { owner, lamports: BigInt(lamports), data: fromBase64(data) };
}

function readStatus({ slot, confirmations, err, confirmationStatus }: RpcStatus): SvmSignatureStatus {
  return {
    slot: BigInt(slot),
    succeeded: err === null,
    commitment: confirmationStatus,
    confirmations: confirmations ?? undefined,
  };
}

/** Balances name accounts by their position in the message, so the two are read together. */
function readTransaction({ slot, meta, transaction }: RpcTransaction): SvmExecutedTransaction | undefined {
  const wire = fromBase64(transaction);
  const accounts = readSvmTransaction(wire)?.accounts;
  // A node that leaves the outcome out, or holds a transaction that is none of ours, has not answered.
  if (!meta || !accounts) return undefined;
  const toBalances = (balances: RpcTokenBalance[] | null | undefined): SvmTokenBalance[] =>
    (balances ?? []).map(({ accountIndex, mint, owner = '', uiTokenAmount }) => ({
      account: accounts[accountIndex] ?? '',
      mint,
      owner,
      amountBaseUnits: BigInt(uiTokenAmount.amount),
    }));
  return {
    slot: BigInt(slot),
    succeeded: meta.err === null,
    wire,
    before: toBalances(meta.preTokenBalances),
    after: toBalances(meta.postTokenBalances),
  };
}
