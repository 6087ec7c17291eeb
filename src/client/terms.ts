import { canonicalEvmAddress } from '../lib/evm-address.ts';

/** A network whose dollar token this program knows by itself, so that no server can name another one. */
export interface KnownNetwork {
  /** CAIP-2, e.g. `eip155:8453`. */
  network: string;
  /** Name in x402 version 1, e.g. `base`. */
  alias: string;
  title: string;
  environment: 'live' | 'test';
  chainId: number;
  /** The token in lower case, with the EIP-712 name and version that its signatures are made under. */
  usdc: { address: string; decimals: number; name: string; version: string };
}

/** What will be signed: everything in it was checked or chosen here. */
export interface PaymentTerms {
  network: KnownNetwork;
  /** Receiver, lower case. */
  payTo: string;
  amountBaseUnits: bigint;
  /** How long the server wants the signature to be good. */
  maxTimeoutSeconds: number;
}

/** The server asks for something that this program does not sign; nothing was paid. */
export class UnacceptableOfferError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'UnacceptableOfferError';
  }
}

/** One entry of `accepts`, of either version; the price is read by the caller, whose dialect names it. */
export type OfferEntry = Readonly<Record<string, unknown>>;

/** Longer than any published seller asks for; the signature could be used for as long. */
const MAX_TIMEOUT_SECONDS = 3_600;

/**
 * Checks an entry's network, token, receiver and time against what this program knows.
 * @param payer lower-case address of the paying wallet
 * @throws UnacceptableOfferError with what is wrong
 */
export function checkEntry(
  entry: OfferEntry,
  networks: readonly KnownNetwork[],
  payer: string,
): Omit<PaymentTerms, 'amountBaseUnits'> {
  if (entry['scheme'] !== 'exact') throw refuse(`the scheme ${show(entry['scheme'])}`);
  const network = findNetwork(entry, networks);
  if (!network) throw refuse(`the network ${show(entry['network'])}`);
  const { usdc, title } = network;
  if (addressOf(entry['asset']) !== usdc.address) {
    throw refuse(`the token ${show(entry['asset'])}, which is not USDC on ${title} (${usdc.address})`);
  }
  const extra = (entry['extra'] ?? {}) as OfferEntry;
  if (extra['name'] !== usdc.name || extra['version'] !== usdc.version) {
    throw refuse(
      `a signature for ${show(extra['name'])} ${show(extra['version'])}, which no USDC would take`,
    );
  }
  const payTo = addressOf(entry['payTo']);
  if (payTo === undefined || BigInt(payTo) === 0n || payTo === payer || payTo === usdc.address) {
    throw refuse(`the receiver ${show(entry['payTo'])}`);
  }
  const seconds = entry['maxTimeoutSeconds'];
  if (typeof seconds !== 'number' || !Number.isInteger(seconds) || seconds < 1) {
    throw refuse(`the time limit ${show(seconds)}`);
  }
  return { network, payTo, maxTimeoutSeconds: Math.min(seconds, MAX_TIMEOUT_SECONDS) };
}

/** The network that an entry names in either way. */
export function findNetwork(entry: OfferEntry, networks: readonly KnownNetwork[]): KnownNetwork | undefined {
  return networks.find(each => [each.network, each.alias].includes(String(entry['network'])));
}

/** Base units as offers write them: decimal digits in a string. */
export function readBaseUnits(value: unknown): bigint {
  if (typeof value !== 'string' || !/^(0|[1-9]\d{0,30})$/.test(value)) {
    throw refuse(`the amount ${show(value)}`);
  }
  return BigInt(value);
}

/** The entries of an offer. */
export function readAccepts(body: unknown): OfferEntry[] {
  const accepts = (body as { accepts?: unknown } | null)?.accepts;
  if (!Array.isArray(accepts) || accepts.length === 0 || accepts.length > 100) {
    throw new UnacceptableOfferError('the server’s 402 holds no offer');
  }
  return accepts.map(entry => (typeof entry === 'object' && entry !== null ? (entry as OfferEntry) : {}));
}

const addressOf = (value: unknown): string | undefined =>
  typeof value === 'string' ? canonicalEvmAddress(value) : undefined;

function refuse(what: string): UnacceptableOfferError {
  return new UnacceptableOfferError(`the server asks for ${what}`);
}

/** What a server wrote, fit for a terminal. */
export function show(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing');
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 200);
}
