import path from 'node:path';
import type { CellName } from '../lib/cell-name.ts';
import type { DepthRule } from '../lib/confirmations.ts';
import { canonicalEvmAddress } from '../lib/evm-address.ts';
import { isSvmAddress } from '../lib/svm-address.ts';
import { readSvmKey } from '../lib/svm-key.ts';
import { type AgentConfig, parseAgents } from './agents.ts';
import { parseFacilitatorApiKeys } from './facilitator-api.ts';
import { EMBEDDED, type FacilitatorSettings, isLoopbackUrl, parseFacilitators } from './facilitators.ts';
import { ConfigError, readValues, type Values } from './read.ts';
import { RPC_SETTINGS, type RpcSetting, SETTINGS } from './settings.ts';
import { parseTopups, type TopupConfig } from './topups.ts';
import {
  describeConfirmations,
  isEvmPrivateKey,
  parseCells,
  parseConfirmations,
  parseList,
  parseOrigin,
  parseTrustProxy,
} from './values.ts';
import { parseEncryptionKeys, parseWebhooks, type WebhookConfig } from './webhooks.ts';

const DIALECT_NAMES = ['venice', 'mobula', 'dria', 'aitopup'] as const;
export type DialectName = (typeof DIALECT_NAMES)[number];

const PERMIT2_SETTINGS = ['off', 'on', 'sponsored'] as const;
export type Permit2Setting = (typeof PERMIT2_SETTINGS)[number];

const isPermit2Setting = (text: string): text is Permit2Setting =>
  (PERMIT2_SETTINGS as readonly string[]).includes(text);

/** Paid by MPP and not by x402. */
const TEMPO_NETWORKS: readonly string[] = ['eip155:4217', 'eip155:42431'];

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The effective configuration: parsed once, frozen, passed to what needs it. */
export interface Config extends FacilitatorSettings, AgentConfig {
  mode: 'serve' | 'sandbox';
  host: string;
  port: number;
  /** Origin without a trailing slash. */
  publicOrigin: string;
  databaseUrl: string;
  /** The first one is nothing special. */
  cells: readonly [CellName, ...CellName[]];
  dataDir: string;
  logLevel: LogLevel;
  dialects: readonly DialectName[];
  /** CAIP-2 ids. */
  networks: readonly string[];
  evmPayTo: string;
  /** Gas keys; each is a lane with nonces of its own. */
  evmPrivateKeys: readonly string[];
  permit2: Permit2Setting;
  /** Lower-case addresses. */
  walletFactories: readonly string[];
  /** Receiver on Tempo, in lower case. */
  tempoPayTo: string;
  svmPayTo: string;
  svmPrivateKey: string;
  /** JSON-RPC URLs by the name of their setting. */
  rpcUrls: Readonly<Record<RpcSetting, string>>;
  /** Whether a network may do without a node, so that facilitators are believed. */
  trustFacilitator: boolean;
  /** By CAIP-2 id; the network's own rules where there are none. */
  confirmations: Readonly<Record<string, readonly DepthRule[]>>;
  /** Keys by the name of their holder; without any, nothing is settled for others. */
  facilitatorApiKeys: Readonly<Record<string, string>>;
  /** Empty: the operator's API is off. */
  adminApiKey: string;
  /** 32 bytes each; empty: secrets are stored as they are. */
  dataEncryptionKeys: readonly Buffer[];
  webhooks: WebhookConfig;
  sentTopups: TopupConfig;
  /** Our own host first; a proof that names none of them is refused. */
  siwxDomains: readonly string[];
  /** CIDRs of the load balancers, or false. */
  trustProxy: false | string[];
  rateLimits: boolean;
}

/**
 * Reads the settings from the environment, over an optional JSON file named by `CONFIG`. A secret may
 * also be given as `NAME_FILE`. Unknown keys in the file are refused, because a misspelt setting that is
 * silently ignored costs money.
 * @throws ConfigError with every problem found.
 */
export function loadConfig(
  mode: Config['mode'],
  env: NodeJS.ProcessEnv,
  overrides: Partial<Values> = {},
): Config {
  const problems: string[] = [];
  const values = { ...readValues(env, problems), ...overrides };
  const config = parse(mode, values, problems);
  if (mode === 'serve') requireProduction(config, problems);
  if (mode === 'sandbox') requireLoopback(config, problems);
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.freeze(config);
}

function parse(mode: Config['mode'], values: Values, problems: string[]): Config {
  const port = Number(values.PORT);
  if (!/^\d{1,5}$/.test(values.PORT) || port > 65_535) problems.push('PORT must be a port number');
  const host = mode === 'sandbox' && values.HOST === SETTINGS.HOST.fallback ? '127.0.0.1' : values.HOST;
  const publicOrigin = parseOrigin(values.PUBLIC_ORIGIN, problems);
  const dialects = parseList(values.DIALECTS);
  for (const name of dialects) {
    if (!(DIALECT_NAMES as readonly string[]).includes(name))
      problems.push(`DIALECTS: there is no dialect ${name}`);
  }
  if (!(LOG_LEVELS as readonly string[]).includes(values.LOG_LEVEL))
    problems.push('LOG_LEVEL is not a level');
  const evmPayTo = canonicalEvmAddress(values.EVM_PAY_TO);
  const tempoPayTo = canonicalEvmAddress(values.TEMPO_PAY_TO);
  if (values.TEMPO_PAY_TO && !tempoPayTo) problems.push('TEMPO_PAY_TO must be an address');
  if (values.EVM_PAY_TO && (evmPayTo === undefined || BigInt(evmPayTo) === 0n)) {
    problems.push(
      'EVM_PAY_TO must be an address; mixed case carries a checksum, and it is wrong or it is nobody’s',
    );
  }
  const evmPrivateKeys = parseList(values.EVM_PRIVATE_KEY).map(key => key.toLowerCase());
  if (!evmPrivateKeys.every(isEvmPrivateKey) || new Set(evmPrivateKeys).size < evmPrivateKeys.length) {
    problems.push(
      'EVM_PRIVATE_KEY must be 0x and 64 hex digits, and a key of the curve; a list must not repeat one',
    );
  }
  if (!isPermit2Setting(values.PERMIT2)) problems.push("PERMIT2 must be 'off', 'on' or 'sponsored'");
  const walletFactories = parseList(values.ERC6492_FACTORIES).map(canonicalEvmAddress);
  if (walletFactories.includes(undefined)) problems.push('ERC6492_FACTORIES must be a list of addresses');
  if (values.SVM_PAY_TO && !isSvmAddress(values.SVM_PAY_TO)) {
    problems.push('SVM_PAY_TO must be an address in base58, which has capital letters');
  }
  if (values.SVM_PRIVATE_KEY && !readSvmKey(values.SVM_PRIVATE_KEY)) {
    problems.push('SVM_PRIVATE_KEY must be 64 bytes, in base58 or as the JSON array of solana-keygen');
  }
  for (const name of Object.values(RPC_SETTINGS)) {
    if (values[name] && !URL.canParse(values[name])) problems.push(`${name} must be a URL`);
  }
  if (!['on', 'off'].includes(values.RATE_LIMITS)) problems.push("RATE_LIMITS must be 'on' or 'off'");
  if (!['on', 'off'].includes(values.TRUST_FACILITATOR))
    problems.push("TRUST_FACILITATOR must be 'on' or 'off'");
  if (values.ADMIN_API_KEY && !/^[\x21-\x7e]{32,256}$/.test(values.ADMIN_API_KEY)) {
    problems.push('ADMIN_API_KEY must be 32 to 256 characters without spaces');
  }
  const networks = [...new Set(parseList(values.NETWORKS))];
  // In every mode: an offer names one chain, and the second one would silently take no money.
  if (networks.filter(network => TEMPO_NETWORKS.includes(network)).length > 1)
    problems.push('NETWORKS must name one Tempo network at most');
  return {
    mode,
    host,
    port,
    publicOrigin,
    databaseUrl: values.DATABASE_URL,
    cells: parseCells(values.CELLS, problems),
    dataDir: path.resolve(values.DATA_DIR),
    logLevel: values.LOG_LEVEL as LogLevel,
    dialects: dialects as DialectName[],
    networks,
    evmPayTo: evmPayTo ?? '',
    evmPrivateKeys,
    permit2: isPermit2Setting(values.PERMIT2) ? values.PERMIT2 : 'off',
    walletFactories: walletFactories.filter(address => address !== undefined),
    tempoPayTo: tempoPayTo ?? '',
    svmPayTo: values.SVM_PAY_TO,
    svmPrivateKey: values.SVM_PRIVATE_KEY,
    rpcUrls: {
      BASE_RPC_URL: values.BASE_RPC_URL,
      BASE_SEPOLIA_RPC_URL: values.BASE_SEPOLIA_RPC_URL,
      SOLANA_RPC_URL: values.SOLANA_RPC_URL,
      TEMPO_RPC_URL: values.TEMPO_RPC_URL,
    },
    trustFacilitator: values.TRUST_FACILITATOR === 'on',
    ...parseFacilitators(values, problems),
    confirmations: parseConfirmations(values.CONFIRMATIONS, problems),
    facilitatorApiKeys: parseFacilitatorApiKeys(values.FACILITATOR_API_KEYS, problems),
    adminApiKey: values.ADMIN_API_KEY,
    dataEncryptionKeys: parseEncryptionKeys(values.DATA_ENCRYPTION_KEY, problems),
    webhooks: parseWebhooks(values, problems),
    ...parseAgents(values, problems),
    sentTopups: parseTopups(values, problems),
    siwxDomains: signInDomains(publicOrigin, parseList(values.SIWX_DOMAINS)),
    trustProxy: parseTrustProxy(values.TRUST_PROXY, problems),
    rateLimits: values.RATE_LIMITS === 'on',
  };
}

/** Clients sign for the host that they reach us at, so no list of others may shut it out. */
function signInDomains(publicOrigin: string, others: readonly string[]): string[] {
  const own = publicOrigin ? [new URL(publicOrigin).hostname] : [];
  return [...new Set([...own, ...others])];
}

function requireProduction(config: Config, problems: string[]): void {
  if (!config.databaseUrl) problems.push('DATABASE_URL is required');
  if (!config.publicOrigin) problems.push('PUBLIC_ORIGIN is required');
  if (config.webhooks.allowLoopback) problems.push('WEBHOOK_ALLOW_LOOPBACK is for development alone');
  if (config.networks.length === 0) problems.push('NETWORKS must name at least one network');
  if (config.facilitators.length === 0) problems.push('FACILITATORS must name at least one facilitator');
  const onEvm = config.networks.some(n => n.startsWith('eip155:') && !TEMPO_NETWORKS.includes(n));
  const onSolana = config.networks.some(network => network.startsWith('solana:'));
  const embedded = config.facilitators.includes(EMBEDDED);
  if (onEvm && !config.evmPayTo) problems.push('EVM_PAY_TO is required');
  if (onSolana && !config.svmPayTo) problems.push('SVM_PAY_TO is required');
  const tempo = config.networks.filter(network => TEMPO_NETWORKS.includes(network));
  if (tempo.length > 0 && !config.tempoPayTo) problems.push('TEMPO_PAY_TO is required');
  if (tempo.length > 0 && !config.mppSecretKey) problems.push('MPP_SECRET_KEY is required');
  requireNodes(config, problems);
  if (onEvm && embedded && config.evmPrivateKeys.length === 0) problems.push('EVM_PRIVATE_KEY is required');
  if (onSolana && embedded && !config.svmPrivateKey) problems.push('SVM_PRIVATE_KEY is required');
  if (Object.keys(config.facilitatorApiKeys).length > 0 && !embedded)
    problems.push('FACILITATOR_API_KEYS needs the embedded facilitator in FACILITATORS');
}

/** Only a remote facilitator that is trusted can stand in for a node, and none can on Tempo. */
function requireNodes(config: Config, problems: string[]): void {
  const { trustFacilitator, facilitators, networks, rpcUrls } = config;
  const isTrusting = trustFacilitator && facilitators.some(name => name !== EMBEDDED);
  for (const [network, name] of Object.entries(RPC_SETTINGS)) {
    const isTrusted = isTrusting && !TEMPO_NETWORKS.includes(network);
    if (networks.includes(network) && !rpcUrls[name] && !isTrusted) problems.push(`${name} is required`);
  }
}

/** Whether there is a node to read the network from. */
export function hasNode({ rpcUrls }: Config, network: string): boolean {
  return Object.entries(RPC_SETTINGS).some(([id, name]) => id === network && rpcUrls[name] !== '');
}

/** The sandbox hands out money for free, so it must never reach a real chain. */
function requireLoopback(config: Config, problems: string[]): void {
  for (const [name, url] of Object.entries(config.rpcUrls)) {
    if (URL.canParse(url) && !isLoopbackUrl(url)) problems.push(`${name} must be loopback in the sandbox`);
  }
  if (config.facilitators.some(name => name !== EMBEDDED && !isLoopbackUrl(name)))
    problems.push('FACILITATORS must be embedded or loopback in the sandbox');
}

/** The settings as a printable object: secrets are shown as set or not set, nothing more. */
export function describeConfig(config: Config): Record<string, unknown> {
  const mask = (value: string) => (value ? '(set)' : '(not set)');
  return {
    ...config,
    databaseUrl: mask(config.databaseUrl),
    evmPrivateKeys: config.evmPrivateKeys.map(mask),
    svmPrivateKey: mask(config.svmPrivateKey),
    adminApiKey: mask(config.adminApiKey),
    sentTopups: { ...config.sentTopups, deliverySecret: mask(config.sentTopups.deliverySecret) },
    facilitatorApiKeys: Object.keys(config.facilitatorApiKeys),
    dataEncryptionKeys: mask(config.dataEncryptionKeys.length > 0 ? 'set' : ''),
    facilitatorHeaders: Object.fromEntries(Object.keys(config.facilitatorHeaders).map(url => [url, '(set)'])),
    mppSecretKey: mask(config.mppSecretKey),
    agentKeySecret: mask(config.agentKeySecret),
    creditsPerUsd: config.creditsPerUsd.toString(),
    confirmations: describeConfirmations(config.confirmations),
    rpcUrls: Object.fromEntries(Object.entries(config.rpcUrls).map(([name, url]) => [name, mask(url)])),
  };
}
