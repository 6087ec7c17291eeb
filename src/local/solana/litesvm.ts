import { createRequire } from 'node:module';

/**
 * The parts of litesvm's native class that we use. We load the native part alone: the package's own wrapper
 * brings a second @solana/kit, and what it adds is the encoding that the JSON-RPC shim does itself.
 */
export interface Vm {
  toBytes(): Uint8Array;
  setSigverify(verify: boolean): void;
  setBlockhashCheck(check: boolean): void;
  setTransactionHistory(capacity: bigint): void;
  minimumBalanceForRentExemption(dataLength: bigint): bigint;
  getAccount(address: Uint8Array): VmAccount | null;
  getProgramAccounts(program: Uint8Array): { address: Uint8Array; account(): VmAccount }[];
  setAccount(address: Uint8Array, account: VmAccount): void;
  /** Bytes that are no transaction end the process: they must have been decoded before. */
  sendVersionedTransaction(bytes: Uint8Array): VmMeta | VmFailure;
  simulateVersionedTransaction(bytes: Uint8Array): VmSimulation | VmFailure;
  getClock(): VmClock;
  setClock(clock: VmClock): void;
}

export interface VmAccount {
  lamports(): bigint;
  data(): Uint8Array;
  owner(): Uint8Array;
  executable(): boolean;
  rentEpoch(): bigint;
}

export interface VmClock {
  slot: bigint;
  epoch: bigint;
  unixTimestamp: bigint;
}

export interface VmInstruction {
  programIdIndex(): number;
  accounts(): Uint8Array;
  data(): Uint8Array;
}

export interface VmMeta {
  logs(): string[];
  innerInstructions(): { instruction(): VmInstruction; stackHeight(): number }[][];
  computeUnitsConsumed(): bigint;
  returnData(): { programId(): Uint8Array; data(): Uint8Array };
}

export interface VmSimulation {
  meta(): VmMeta;
  postAccounts(): { address: Uint8Array; account(): VmAccount }[];
}

/** A number for an error without fields; the class of the object tells the others apart. */
export type VmInstructionError = number | { code: number } | { msg: string };
export type VmTransactionError =
  | number
  | { index: number; err?: () => VmInstructionError }
  | { accountIndex: number };

export interface VmFailure {
  err(): VmTransactionError;
  meta(): VmMeta;
}

export interface Litesvm {
  LiteSvm: { new (): Vm; fromBytes(bytes: Uint8Array): Vm };
  Account: new (
    lamports: bigint,
    data: Uint8Array,
    owner: Uint8Array,
    executable: boolean,
    rentEpoch: bigint,
  ) => VmAccount;
}

/**
 * Where the native part's loader is.
 * @throws when the optional package is not installed.
 */
export function findLitesvm(): string {
  try {
    return createRequire(import.meta.url).resolve('litesvm/dist/internal.js');
  } catch (error) {
    throw new Error('litesvm is not installed: run npm ci without --omit=optional', { cause: error });
  }
}

export function loadLitesvm(file: string): Litesvm {
  return createRequire(import.meta.url)(file) as Litesvm;
}

/** Also true for what an instruction's failure is. */
export function isFailure(result: VmMeta | VmSimulation | VmFailure): result is VmFailure {
  return 'err' in result;
}
