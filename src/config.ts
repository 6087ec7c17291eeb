import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import path from 'node:path';
import { canonicalEvmAddress } from './lib/evm-address.ts';

/** Every setting the program reads, with its meaning; docs and `--help` are written from this list. */
export const SETTINGS = {
  HOST: { fallback: '0.0.0.0', about: 'address to listen on (127.0.0.1 in dev)' },
  PORT: { fallback: '4020', about: 'port to listen on' },
  PUBLIC_ORIGIN: { fallback: '', about: 'origin clients reach us at, e.g. https://pay.example.com' },
  DATABASE_URL: { fallback: '', about: 'PostgreSQL 15 or newer', secret: true },
  DATA_DIR: { fallback: '.data', about: 'where the sandbox keeps its database and chains' },
  LOG_LEVEL: { fallback: 'info', about: 'fatal, error, warn, info, debug, trace or silent' },
  DIALECTS: { fallback: 'venice,dria', about: 'wire dialects to mount, comma-separated' },
  NETWORKS: { fallback: 'eip155:8453', about: 'CAIP-2 networks to accept, comma-separated' },
  EVM_PAY_TO: { fallback: '', about: 'address that receives USDC on EVM networks' },
  EVM_PRIVATE_KEY: { fallback: '', about: 'key that pays gas for the embedded facilitator', secret: true },
  BASE_RPC_URL: { fallback: '', about: 'JSON-RPC of a Base node', secret: true },
  BASE_SEPOLIA_RPC_URL: { fallback: '', about: 'JSON-RPC of a Base Sepolia node', secret: true },
  FACILITATORS: { fallback: 'embedded', about: 'ordered list of facilitators (this version: embedded)' },
  SIWX_DOMAINS: { fallback: '', about: 'domains a sign-in may name (default: host of PUBLIC_ORIGIN)' },
  TRUST_PROXY: {
    fallback: 'off',
    about: "load balancers whose X-Forwarded-For is believed: 'off' or a list of CIDRs",
  },
  RATE_LIMITS: { fallback: 'on', about: "'on' or 'off': the dialects' published limits" },
} as const satisfies Record<string, { fallback: string; about: string; secret?: true }>;

type SettingName = keyof typeof SETTINGS;

/** Which setting names a network's JSON-RPC URL. */
const RPC_SETTINGS = {
  'eip155:8453': 'BASE_RPC_URL',
  'eip155:84532': 'BASE_SEPOLIA_RPC_URL',
} as const satisfies Record<string, SettingName>;

/** Settings that name a chain's JSON-RPC URL. */
export type RpcSetting = (typeof RPC_SETTINGS)[keyof typeof RPC_SETTINGS];

const DIALECT_NAMES = ['venice', 'dria'] as const;
export type DialectName = (typeof DIALECT_NAMES)[number];

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The effective configuration: parsed once, frozen, passed to what needs it. */
export interface Config {
  mode: 'serve' | 'sandbox';
  host: string;
  port: number;
  /** Origin without a trailing slash. */
  publicOrigin: string;
  databaseUrl: string;
  dataDir: string;
  logLevel: LogLevel;
  dialects: readonly DialectName[];
  /** CAIP-2 ids. */
  networks: readonly string[];
  evmPayTo: string;
  evmPrivateKey: string;
  /** JSON-RPC URLs by the name of their setting. */
  rpcUrls: Readonly<Record<RpcSetting, string>>;
  facilitators: readonly string[];
  siwxDomains: readonly string[];
  /** CIDRs of the load balancers, or false. */
  trustProxy: false | string[];
  rateLimits: boolean;
}

/** Lists every problem at once, each naming the setting to change. */
export class ConfigError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(`configuration refused:\n${problems.map(p => `  - ${p}`).join('\n')}`);
    this.name = 'ConfigError';
  }
}

type Values = Record<SettingName, string>;

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

/**
 * Reads one setting as `loadConfig` does, for a command that needs no other.
 * @throws ConfigError when it is missing or a file cannot be read.
 */
export function requireSetting(name: SettingName, env: NodeJS.ProcessEnv): string {
  const problems: string[] = [];
  const value = readValues(env, problems)[name];
  if (problems.length === 0 && !value) problems.push(`${name} is required`);
  if (problems.length > 0) throw new ConfigError(problems);
  return value;
}

function readValues(env: NodeJS.ProcessEnv, problems: string[]): Values {
  const file = env['CONFIG'] ? readConfigFile(env['CONFIG'], problems) : {};
  const names = Object.keys(SETTINGS) as SettingName[];
  const entries = names.map(name => {
    const secretFile = env[`${name}_FILE`];
    const fromSecret =
      'secret' in SETTINGS[name] && secretFile ? readText(name, secretFile, problems) : undefined;
    return [name, (env[name] || fromSecret || file[name]) ?? SETTINGS[name].fallback];
  });
  return Object.fromEntries(entries) as Values;
}

function readText(name: string, file: string, problems: string[]): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    problems.push(`${name}_FILE names a file that cannot be read`);
    return undefined;
  }
}

function readConfigFile(file: string, problems: string[]): Record<string, string> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    problems.push('CONFIG names a file that is not readable JSON');
    return {};
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    problems.push('CONFIG must hold one JSON object');
    return {};
  }
  const entries = Object.entries(parsed);
  for (const [key, value] of entries) {
    if (!Object.hasOwn(SETTINGS, key)) problems.push(`CONFIG has the unknown setting ${key}`);
    else if (!['string', 'number', 'boolean'].includes(typeof value))
      problems.push(`CONFIG: ${key} must be a plain value`);
  }
  return Object.fromEntries(entries.map(([key, value]) => [key, String(value)]));
}

function parse(mode: Config['mode'], values: Values, problems: string[]): Config {
  const port = Number(values.PORT);
  if (!/^\d{1,5}$/.test(values.PORT) || port > 65_535) problems.push('PORT must be a port number');
  const host = mode === 'sandbox' && values.HOST === SETTINGS.HOST.fallback ? '127.0.0.1' : values.HOST;
  const publicOrigin = parseOrigin(values.PUBLIC_ORIGIN, problems);
  const dialects = list(values.DIALECTS);
  for (const name of dialects) {
    if (!(DIALECT_NAMES as readonly string[]).includes(name))
      problems.push(`DIALECTS: there is no dialect ${name}`);
  }
  if (!(LOG_LEVELS as readonly string[]).includes(values.LOG_LEVEL))
    problems.push('LOG_LEVEL is not a level');
  const evmPayTo = canonicalEvmAddress(values.EVM_PAY_TO);
  if (values.EVM_PAY_TO && (evmPayTo === undefined || BigInt(evmPayTo) === 0n)) {
    problems.push(
      'EVM_PAY_TO must be an address; mixed case carries a checksum, and it is wrong or it is nobody’s',
    );
  }
  if (values.EVM_PRIVATE_KEY && !isPrivateKey(values.EVM_PRIVATE_KEY)) {
    problems.push('EVM_PRIVATE_KEY must be 0x and 64 hex digits, and a key of the curve');
  }
  for (const name of Object.values(RPC_SETTINGS)) {
    if (values[name] && !URL.canParse(values[name])) problems.push(`${name} must be a URL`);
  }
  if (!['on', 'off'].includes(values.RATE_LIMITS)) problems.push("RATE_LIMITS must be 'on' or 'off'");
  const facilitators = list(values.FACILITATORS);
  for (const name of facilitators) {
    if (name !== 'embedded')
      problems.push(`FACILITATORS: ${name} is not supported by this version (use embedded)`);
  }
  const domains = list(values.SIWX_DOMAINS);
  return {
    mode,
    host,
    port,
    publicOrigin,
    databaseUrl: values.DATABASE_URL,
    dataDir: path.resolve(values.DATA_DIR),
    logLevel: values.LOG_LEVEL as LogLevel,
    dialects: dialects as DialectName[],
    networks: [...new Set(list(values.NETWORKS))],
    evmPayTo: evmPayTo ?? '',
    evmPrivateKey: values.EVM_PRIVATE_KEY,
    rpcUrls: { BASE_RPC_URL: values.BASE_RPC_URL, BASE_SEPOLIA_RPC_URL: values.BASE_SEPOLIA_RPC_URL },
    facilitators,
    siwxDomains: domains.length > 0 ? domains : publicOrigin ? [new URL(publicOrigin).hostname] : [],
    trustProxy: parseTrustProxy(values.TRUST_PROXY, problems),
    rateLimits: values.RATE_LIMITS === 'on',
  };
}

function list(text: string): string[] {
  return text
    .split(',')
    .map(item => item.trim())
    .filter(item => item !== '');
}

function parseOrigin(text: string, problems: string[]): string {
  if (text === '') return '';
  if (
    !URL.canParse(text) ||
    !/^https?:$/.test(new URL(text).protocol) ||
    new URL(text).origin !== text.replace(/\/$/, '')
  ) {
    problems.push('PUBLIC_ORIGIN must be scheme, host and port alone, e.g. https://pay.example.com');
    return '';
  }
  return new URL(text).origin;
}

/** Order of secp256k1's group: a key is a number from 1 to one less. */
const CURVE_ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;

function isPrivateKey(text: string): boolean {
  return /^0x[0-9a-fA-F]{64}$/.test(text) && BigInt(text) > 0n && BigInt(text) < CURVE_ORDER;
}

/** Believing every proxy would let a caller choose the address that its rate limit counts. */
function parseTrustProxy(text: string, problems: string[]): Config['trustProxy'] {
  if (text === 'off') return false;
  const ranges = list(text);
  const valid = ranges.every(range => {
    const [address = '', bits] = range.split('/');
    const size = isIP(address) === 4 ? 32 : 128;
    return isIP(address) !== 0 && (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= size));
  });
  if (ranges.length === 0 || !valid) problems.push("TRUST_PROXY must be 'off' or a list of CIDRs");
  return ranges;
}

function requireProduction(config: Config, problems: string[]): void {
  if (!config.databaseUrl) problems.push('DATABASE_URL is required');
  if (!config.publicOrigin) problems.push('PUBLIC_ORIGIN is required');
  if (config.networks.length === 0) problems.push('NETWORKS must name at least one network');
  if (config.facilitators.length === 0) problems.push('FACILITATORS must name at least one facilitator');
  if (config.networks.some(n => n.startsWith('eip155:')) && !config.evmPayTo)
    problems.push('EVM_PAY_TO is required');
  for (const [network, name] of Object.entries(RPC_SETTINGS)) {
    if (config.networks.includes(network) && !config.rpcUrls[name]) problems.push(`${name} is required`);
  }
  if (config.facilitators.includes('embedded') && !config.evmPrivateKey)
    problems.push('EVM_PRIVATE_KEY is required');
}

/** The sandbox hands out money for free, so it must never reach a real chain. */
function requireLoopback(config: Config, problems: string[]): void {
  for (const [name, url] of Object.entries(config.rpcUrls)) {
    if (URL.canParse(url) && !['127.0.0.1', 'localhost', '[::1]'].includes(new URL(url).hostname)) {
      problems.push(`${name} must be loopback in the sandbox`);
    }
  }
}

/** The settings as a printable object: secrets are shown as set or not set, nothing more. */
export function describeConfig(config: Config): Record<string, unknown> {
  const mask = (value: string) => (value ? '(set)' : '(not set)');
  return {
    ...config,
    databaseUrl: mask(config.databaseUrl),
    evmPrivateKey: mask(config.evmPrivateKey),
    rpcUrls: Object.fromEntries(Object.entries(config.rpcUrls).map(([name, url]) => [name, mask(url)])),
  };
}
