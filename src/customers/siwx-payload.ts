import { decodeBase64Json } from '../lib/base64.ts';
import { invalidProof } from './proof-reasons.ts';
import { buildSiwxMessage, type SiwxMessage } from './siwx-message.ts';

/** A decoded sign-in header: what was signed, and what is claimed about it beside the text. */
export interface SiwxPayload {
  address: string;
  /** The exact signed text. */
  text: string;
  signature: string;
  /** As sent, see {@link parseChainId}; undefined when the payload leaves it to the text. */
  chainId: unknown;
  /** The kind of account that the signature type names. */
  account: SiwxMessage['account'] | undefined;
  timestampMs: number | undefined;
}

/** Far above any honest proof (about 1 KB); what is longer is not even decoded. */
const MAX_HEADER_LENGTH = 8192;

const SIGNATURE_TYPES: Readonly<Record<string, SiwxMessage['account']>> = {
  eip191: 'Ethereum',
  eip1271: 'Ethereum',
  ed25519: 'Solana',
};

type Json = Readonly<Record<string, unknown>>;

/**
 * Decodes the header value in both forms: with the signed text in `message`, or with its fields, from which
 * the text is rebuilt. Callers read the text alone, so a field cannot claim what was not signed.
 * @throws GatewayError `proof_invalid`: PARSE_ERROR or INVALID_PAYLOAD, and in the second form INVALID_CHAIN_ID
 */
export function decodeSiwxPayload(header: string): SiwxPayload {
  const json = header.length <= MAX_HEADER_LENGTH ? decodeBase64Json(header) : undefined;
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw invalidProof('PARSE_ERROR');
  const payload = json as Json;

  const address = requiredText(payload, 'address');
  const signature = requiredText(payload, 'signature');
  const account = readAccount(payload['type']);
  const timestampMs = payload['timestamp'];
  if (timestampMs !== undefined && (typeof timestampMs !== 'number' || !Number.isFinite(timestampMs))) {
    throw invalidProof('INVALID_PAYLOAD');
  }
  const text = 'message' in payload ? requiredText(payload, 'message') : rebuildText(payload, account);
  return { address, text, signature, chainId: payload['chainId'], account, timestampMs };
}

function readAccount(type: unknown): SiwxMessage['account'] | undefined {
  if (type === undefined) return undefined;
  const account =
    typeof type === 'string' && Object.hasOwn(SIGNATURE_TYPES, type) ? SIGNATURE_TYPES[type] : undefined;
  if (!account) throw invalidProof('INVALID_PAYLOAD');
  return account;
}

/**
 * `8453`, `"8453"` and `"eip155:8453"` name the same chain; Solana is always written as CAIP-2.
 * @returns the CAIP-2 id
 * @throws GatewayError `proof_invalid`: INVALID_CHAIN_ID
 */
export function parseChainId(chainId: unknown): string {
  const text = typeof chainId === 'number' ? String(chainId) : chainId;
  if (typeof text === 'string') {
    if (/^\d{1,20}$/.test(text)) return `eip155:${text}`;
    if (/^eip155:\d{1,20}$/.test(text) || /^solana:[1-9A-HJ-NP-Za-km-z]{1,44}$/.test(text)) return text;
  }
  throw invalidProof('INVALID_CHAIN_ID');
}

function rebuildText(payload: Json, account: SiwxMessage['account'] | undefined): string {
  if (payload['chainId'] === undefined) throw invalidProof('INVALID_PAYLOAD');
  const chain = parseChainId(payload['chainId']);
  return buildSiwxMessage({
    account: account ?? 'Ethereum',
    domain: requiredText(payload, 'domain'),
    address: requiredText(payload, 'address'),
    statement: optionalText(payload, 'statement'),
    uri: requiredText(payload, 'uri'),
    version: requiredText(payload, 'version'),
    chainId: chain.slice(chain.indexOf(':') + 1),
    nonce: requiredText(payload, 'nonce'),
    issuedAt: requiredText(payload, 'issuedAt'),
    expirationTime: optionalText(payload, 'expirationTime'),
    notBefore: optionalText(payload, 'notBefore'),
    requestId: optionalText(payload, 'requestId'),
    resources: readResources(payload['resources']),
  });
}

function requiredText(payload: Json, name: string): string {
  const value = payload[name];
  if (typeof value !== 'string') throw invalidProof('INVALID_PAYLOAD');
  return value;
}

/** Serialisers differ in whether they leave an absent field out or write null. */
function optionalText(payload: Json, name: string): string | undefined {
  return (payload[name] ?? undefined) === undefined ? undefined : requiredText(payload, name);
}

function readResources(value: unknown): string[] | undefined {
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value) || !value.every(item => typeof item === 'string')) {
    throw invalidProof('INVALID_PAYLOAD');
  }
  return value;
}
