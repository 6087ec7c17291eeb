/** A network whose dollar token this program knows by itself, so that no server can name another one. */
export interface KnownNetwork {
  /** CAIP-2, e.g. `eip155:8453`. */
  network: string;
  /** Name in x402 version 1, e.g. `base`. */
  alias: string;
  title: string;
  environment: 'live' | 'test';
  usdc: { address: string; decimals: number };
}

/** A payment that is signed: whoever has it can settle it, once. */
export interface SignedPayment {
  /** As x402 carries it in `payload`. */
  payload: Readonly<Record<string, unknown>>;
  /** When it can no longer be settled; an estimate where the network counts blocks. */
  signedUntilMs: number;
  /** The last block that can hold it, on networks that count so. */
  signedUntilBlock?: bigint;
}

/** An entry of an offer in which nothing is odd; all of it that will be signed was checked or chosen here. */
export interface CheckedEntry {
  /** As the server wrote it. */
  entry: OfferEntry;
  network: KnownNetwork;
  /** Receiver, in the one spelling of its network. */
  payTo: string;
  /** How long the server wants the signature to be good. */
  maxTimeoutSeconds: number;
  /** Signs a payment of this much to the receiver. */
  sign(amountBaseUnits: bigint, nowMs: number): Promise<SignedPayment>;
}

/** What will be signed. */
export interface PaymentTerms extends CheckedEntry {
  amountBaseUnits: bigint;
}

/** A key that pays; it signs nothing but USDC on networks that it knows. */
export interface Wallet {
  /** In the one spelling of its networks. */
  address: string;
  /** Networks to pay on, in order of preference. */
  networks: readonly KnownNetwork[];
  /** @throws UnacceptableOfferError with what is wrong */
  checkEntry(entry: OfferEntry): CheckedEntry;
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
 * Checks an entry's scheme, network, token, receiver and time against what this program knows.
 * @param readAddress gives the one spelling of an address that can be paid
 * @throws UnacceptableOfferError with what is wrong
 */
export function checkEntry<Network extends KnownNetwork>({
  entry,
  networks,
  payer,
  readAddress,
}: {
  entry: OfferEntry;
  networks: readonly Network[];
  payer: string;
  readAddress: (value: unknown) => string | undefined;
}) {
  if (entry['scheme'] !== 'exact') throw refuse(`the scheme ${show(entry['scheme'])}`);
  const network = findNetwork(entry, networks);
  if (!network) throw refuse(`the network ${show(entry['network'])}`);
  const { usdc, title } = network;
  if (readAddress(entry['asset']) !== usdc.address) {
    throw refuse(`the token ${show(entry['asset'])}, which is not USDC on ${title} (${usdc.address})`);
  }
  const payTo = readAddress(entry['payTo']);
  if (payTo === undefined || payTo === payer || payTo === usdc.address) {
    throw refuse(`the receiver ${show(entry['payTo'])}`);
  }
  const seconds = entry['maxTimeoutSeconds'];
  if (typeof seconds !== 'number' || !Number.isInteger(seconds) || seconds < 1) {
    throw refuse(`the time limit ${show(seconds)}`);
  }
  return { entry, network, payTo, maxTimeoutSeconds: Math.min(seconds, MAX_TIMEOUT_SECONDS) };
}

/** The network that an entry names in either way. */
export function findNetwork<Network extends KnownNetwork>(
  entry: OfferEntry,
  networks: readonly Network[],
): Network | undefined {
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

/** Says what is odd about an offer. */
export function refuse(what: string): UnacceptableOfferError {
  return new UnacceptableOfferError(`the server asks for ${what}`);
}

/** What a server wrote, fit for a terminal. */
export function show(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing');
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 200);
}
