import type { Address } from '@solana/kit';
import { addressBytes, addressOf, encodeBase58 } from '../../lib/svm-address.ts';
import type { SvmMessage } from '../../lib/svm-message.ts';
import { feeOf } from './fee.ts';
import type { History, TokenBalance, TransactionRecord } from './history.ts';
import {
  isFailure,
  type Vm,
  type VmAccount,
  type VmFailure,
  type VmMeta,
  type VmSimulation,
} from './litesvm.ts';
import { PREFLIGHT_FAILURE, RpcError, SIGNATURE_FAILURE } from './rpc-error.ts';
import type { Commitment, Slots } from './slots.ts';
import { readMintDecimals, readTokenBalance, uiTokenAmount } from './tokens.ts';
import { isSigned, signatureOf, type WireTransaction } from './transaction.ts';
import { describeTransactionError, type TransactionError, toTransactionError } from './transaction-error.ts';

export interface Simulation {
  err: TransactionError | null;
  meta: VmMeta | undefined;
  /** The accounts that it touched, by address. */
  postAccounts(): ReadonlyMap<string, VmAccount>;
}

/** What an account holds. */
interface Balance {
  address: string;
  lamports: number;
  token?: NonNullable<ReturnType<typeof readTokenBalance>>;
}

export interface SimulationOptions {
  verifySignatures: boolean;
  /** Which bank is asked about the blockhash; the accounts are always the newest. */
  commitment: Commitment;
  replaceBlockhash?: boolean;
}

/** The chain: accounts in the virtual machine, time in slots, and every transaction that ran. */
export interface Bank {
  slots: Slots;
  history: History;
  account(address: string): VmAccount | undefined;
  /** Puts an account there, outside any transaction. */
  setAccount(address: string, account: VmAccount): void;
  accountsOf(program: Address): { address: Address; account: VmAccount }[];
  rentExemption(bytes: number): number;
  unixTimestamp(): number;
  /** Of a mint; 0 for anything else. */
  decimalsOf(mint: string): number;
  simulate(transaction: WireTransaction, options: SimulationOptions): Simulation;
  /**
   * Runs a transaction at once.
   * @returns its signature; like a real node also for one that never lands, when preflight was skipped.
   * @throws RpcError when preflight finds that it would fail.
   */
  submit(transaction: WireTransaction, preflight: Commitment | 'skip'): string;
  /** Everything but slots and history, as one moment. */
  toBytes(): Uint8Array;
}

const SIGNATURE_FAILURE_NAME = 'SignatureFailure';
/** Accounts and mints that are remembered: reading one takes as long as a tenth of a transaction. */
const MAX_KNOWN = 10_000;
const TABLE_HEADER_BYTES = 56;
const ADDRESS_BYTES = 32;
const MEMO_PROGRAMS = [
  'MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr',
  'Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo',
];

export function createBank(options: { vm: Vm; slots: Slots; history: History; unixTimestamp: number }): Bank {
  const { vm, slots, history } = options;
  let unixTimestamp = options.unixTimestamp;
  /** The slot that programs see. */
  let shownSlot: number | undefined;
  /** After the last transaction that could change them. */
  const balances = new Map<string, Balance>();
  /** Of mints that no transaction could change since. */
  const decimals = new Map<string, number>();
  vm.setSigverify(false);
  // It knows one blockhash only; the window of the last 150 is ours to check.
  vm.setBlockhashCheck(false);
  vm.setTransactionHistory(0n);

  function account(address: string): VmAccount | undefined {
    return vm.getAccount(addressBytes(address)) ?? undefined;
  }

  /** Programs see the slot and the time of now. Time never goes back, whatever the machine's clock does. */
  function setTime(): void {
    const time = Math.max(unixTimestamp, Math.floor(Date.now() / 1_000));
    const slot = slots.advance();
    if (slot === shownSlot && time === unixTimestamp) return;
    unixTimestamp = time;
    shownSlot = slot;
    const clock = vm.getClock();
    clock.slot = BigInt(slot);
    clock.unixTimestamp = BigInt(time);
    vm.setClock(clock);
  }

  /** Why the bank of a slot would not take the transaction at all. */
  function refusal(
    { message, messageHash }: WireTransaction,
    slot: number,
    replaceBlockhash = false,
  ): string | undefined {
    const known = slots.findBlockhash(message.blockhash, slot) !== undefined;
    if (!replaceBlockhash && !known) return 'BlockhashNotFound';
    return history.hasMessage(messageHash) ? 'AlreadyProcessed' : undefined;
  }

  function run<T extends VmMeta | VmSimulation>(verifySignatures: boolean, work: () => T | VmFailure) {
    setTime();
    vm.setSigverify(verifySignatures);
    try {
      return work();
    } finally {
      vm.setSigverify(false);
    }
  }

  function simulate(transaction: WireTransaction, choice: SimulationOptions): Simulation {
    slots.advance();
    const refused = refusal(transaction, slots.at(choice.commitment), choice.replaceBlockhash);
    if (refused) return { err: refused, meta: undefined, postAccounts: () => new Map() };
    const result = run(choice.verifySignatures, () => vm.simulateVersionedTransaction(transaction.bytes));
    if (isFailure(result)) {
      return { err: toTransactionError(result.err()), meta: result.meta(), postAccounts: () => new Map() };
    }
    const postAccounts = () =>
      new Map(result.postAccounts().map(post => [addressOf(post.address) as string, post.account()]));
    return { err: null, meta: result.meta(), postAccounts };
  }

  function submit(transaction: WireTransaction, preflight: Commitment | 'skip'): string {
    if (preflight !== 'skip') {
      if (!isSigned(transaction)) throw badSignature();
      const simulation = simulate(transaction, { verifySignatures: true, commitment: preflight });
      if (simulation.err === SIGNATURE_FAILURE_NAME) throw badSignature();
      if (simulation.err !== null) throw preflightFailure(simulation.err, simulation.meta);
    }
    const slot = slots.advance();
    const signature = signatureOf(transaction);
    if (refusal(transaction, slot) === undefined) execute(transaction, signature, slot, preflight === 'skip');
    return signature;
  }

  function execute(
    transaction: WireTransaction,
    signature: string,
    slot: number,
    verifySignatures: boolean,
  ): void {
    const loadedAddresses = lookUp(transaction.message);
    const accounts = [
      ...transaction.message.staticAccounts,
      ...loadedAddresses.writable,
      ...loadedAddresses.readonly,
    ];
    const before = accounts.map(address => balances.get(address) ?? readBalance(address));
    const result = run(verifySignatures, () => vm.sendVersionedTransaction(transaction.bytes));
    const isWritable = writableIn(transaction.message, loadedAddresses.writable.length);
    const after = before.map((known, index) => (isWritable(index) ? readBalance(known.address) : known));
    const failed = isFailure(result);
    // Whoever was charged a fee was in a block; any other failure never left the leader's queue.
    if (failed && before[0]?.lamports === after[0]?.lamports) return;
    const meta = failed ? result.meta() : result;
    history.add({
      signature,
      slot,
      blockTime: unixTimestamp,
      wire: Buffer.from(transaction.bytes).toString('base64'),
      messageHash: transaction.messageHash,
      accounts,
      err: failed ? toTransactionError(result.err()) : null,
      fee: feeOf(transaction.message),
      memo: memoOf(transaction.message),
      preBalances: before.map(({ lamports }) => lamports),
      postBalances: after.map(({ lamports }) => lamports),
      preTokenBalances: before.flatMap(showTokenBalance),
      postTokenBalances: after.flatMap(showTokenBalance),
      loadedAddresses,
      computeUnitsConsumed: Number(meta.computeUnitsConsumed()),
      logMessages: meta.logs(),
      innerInstructions: showInner(meta),
      returnData: showReturned(meta),
    });
  }

  function readBalance(address: string): Balance {
    const found = account(address);
    const token = found && readTokenBalance(found);
    const balance = { address, lamports: Number(found?.lamports() ?? 0n), ...(token && { token }) };
    if (balances.size >= MAX_KNOWN) balances.clear();
    balances.set(address, balance);
    decimals.delete(address);
    return balance;
  }

  function showTokenBalance({ token }: Balance, accountIndex: number): TokenBalance[] {
    if (!token) return [];
    const { mint, owner, programId, amount } = token;
    return [{ accountIndex, mint, owner, programId, uiTokenAmount: uiTokenAmount(amount, decimalsOf(mint)) }];
  }

  function decimalsOf(mint: string): number {
    const known = decimals.get(mint);
    if (known !== undefined) return known;
    const found = account(mint);
    const read = (found && readMintDecimals(found)) ?? 0;
    if (decimals.size >= MAX_KNOWN) decimals.clear();
    decimals.set(mint, read);
    return read;
  }

  /** The accounts that a version 0 transaction takes from lookup tables: all writable ones come first. */
  function lookUp(message: SvmMessage): { writable: string[]; readonly: string[] } {
    const found = { writable: [] as string[], readonly: [] as string[] };
    for (const { lookupTableAddress, writableIndexes, readonlyIndexes } of message.addressTableLookups) {
      const table = account(lookupTableAddress)?.data() ?? new Uint8Array();
      const read = (index: number) => {
        const start = TABLE_HEADER_BYTES + index * ADDRESS_BYTES;
        const bytes = table.subarray(start, start + ADDRESS_BYTES);
        return bytes.length === ADDRESS_BYTES ? [addressOf(bytes) as string] : [];
      };
      found.writable.push(...writableIndexes.flatMap(read));
      found.readonly.push(...readonlyIndexes.flatMap(read));
    }
    return found;
  }

  return {
    slots,
    history,
    account,
    setAccount(address, given) {
      balances.delete(address);
      decimals.delete(address);
      vm.setAccount(addressBytes(address), given);
    },
    accountsOf: program =>
      vm
        .getProgramAccounts(addressBytes(program))
        .map(found => ({ address: addressOf(found.address), account: found.account() })),
    rentExemption: bytes => Number(vm.minimumBalanceForRentExemption(BigInt(bytes))),
    unixTimestamp: () => unixTimestamp,
    decimalsOf,
    simulate,
    submit,
    toBytes: () => vm.toBytes(),
  };
}

/** Whether the account of an index may be changed: those that are looked up come last, the writable ones of them first. */
function writableIn(
  { header, staticAccounts }: SvmMessage,
  loadedWritable: number,
): (index: number) => boolean {
  const { numSignerAccounts, numReadonlySignerAccounts, numReadonlyNonSignerAccounts } = header;
  const count = staticAccounts.length;
  return index => {
    if (index < numSignerAccounts) return index < numSignerAccounts - numReadonlySignerAccounts;
    if (index < count) return index < count - numReadonlyNonSignerAccounts;
    return index < count + loadedWritable;
  };
}

/** The instructions that programs called, in the protocol's shape. */
export function showInner(meta: VmMeta): TransactionRecord['innerInstructions'] {
  return meta
    .innerInstructions()
    .map((inner, index) => ({
      index,
      instructions: inner.map(entry => ({
        programIdIndex: entry.instruction().programIdIndex(),
        accounts: [...entry.instruction().accounts()],
        data: encodeBase58(entry.instruction().data()),
        stackHeight: entry.stackHeight(),
      })),
    }))
    .filter(inner => inner.instructions.length > 0);
}

/** What the last program returned, in the protocol's shape. */
export function showReturned(meta: VmMeta): TransactionRecord['returnData'] {
  const returned = meta.returnData();
  const data = returned.data();
  if (data.length === 0) return null;
  return {
    programId: addressOf(returned.programId()),
    data: [Buffer.from(data).toString('base64'), 'base64'],
  };
}

/** The memos as `getSignaturesForAddress` shows them: each with its length in bytes. */
function memoOf(message: SvmMessage): string | null {
  const memos = message.instructions
    .filter(instruction =>
      MEMO_PROGRAMS.includes(message.staticAccounts[instruction.programAddressIndex] ?? ''),
    )
    .map(instruction => Buffer.from(instruction.data))
    .map(data => `[${data.length}] ${data.toString('utf8')}`);
  return memos.length === 0 ? null : memos.join('; ');
}

function badSignature(): RpcError {
  return new RpcError(SIGNATURE_FAILURE, 'Transaction signature verification failure');
}

function preflightFailure(err: TransactionError, meta: VmMeta | undefined): RpcError {
  return new RpcError(PREFLIGHT_FAILURE, `Transaction simulation failed: ${describeTransactionError(err)}`, {
    err,
    accounts: null,
    innerInstructions: null,
    logs: meta?.logs() ?? [],
    replacementBlockhash: null,
    returnData: meta ? showReturned(meta) : null,
    unitsConsumed: Number(meta?.computeUnitsConsumed() ?? 0n),
  });
}
