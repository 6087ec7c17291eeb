/** Every setting the program reads, with its meaning; docs and `--help` are written from this list. */
export const SETTINGS = {
  HOST: { fallback: '0.0.0.0', about: 'address to listen on (127.0.0.1 in dev)' },
  PORT: { fallback: '4020', about: 'port to listen on' },
  PUBLIC_ORIGIN: { fallback: '', about: 'origin clients reach us at, e.g. https://pay.example.com' },
  DATABASE_URL: { fallback: '', about: 'PostgreSQL 15 or newer', secret: true },
  CELLS: {
    fallback: 'cell_0',
    about: 'schemas of the ledger, comma-separated; more than one: docs/scale.md',
  },
  DATA_DIR: { fallback: '.data', about: 'where the sandbox keeps its database and chains' },
  LOG_LEVEL: { fallback: 'info', about: 'fatal, error, warn, info, debug, trace or silent' },
  DIALECTS: { fallback: 'venice,mobula,dria,aitopup', about: 'wire dialects to mount, comma-separated' },
  NETWORKS: { fallback: 'eip155:8453', about: 'CAIP-2 networks to accept, comma-separated' },
  EVM_PAY_TO: { fallback: '', about: 'address that receives USDC on EVM networks' },
  EVM_PRIVATE_KEY: {
    fallback: '',
    about: 'key that pays gas for the embedded facilitator, or a list of them',
    secret: true,
  },
  BASE_RPC_URL: { fallback: '', about: 'JSON-RPC of a Base node', secret: true },
  BASE_SEPOLIA_RPC_URL: { fallback: '', about: 'JSON-RPC of a Base Sepolia node', secret: true },
  PERMIT2: {
    fallback: 'off',
    about:
      "'on': payments by Permit2 are taken too on EVM networks; 'sponsored': with our gas for the payer's allowance",
  },
  ERC6492_FACTORIES: {
    fallback: '',
    about: 'addresses of factories whose undeployed wallets we deploy when they pay, comma-separated',
  },
  SVM_PAY_TO: { fallback: '', about: 'wallet that receives USDC on Solana' },
  SVM_PRIVATE_KEY: {
    fallback: '',
    about: 'key that pays the fees on Solana: base58, or the array of solana-keygen',
    secret: true,
  },
  SOLANA_RPC_URL: { fallback: '', about: 'JSON-RPC of a Solana node', secret: true },
  FACILITATORS: { fallback: 'embedded', about: 'ordered list of facilitators: embedded, or https URLs' },
  FACILITATOR_HEADERS: {
    fallback: '',
    about: 'JSON object: headers of every call, by facilitator URL',
    secret: true,
  },
  FACILITATOR_AUTH: {
    fallback: '',
    about: 'JSON object: module that makes the headers of a call, by facilitator URL',
  },
  TRUST_FACILITATOR: {
    fallback: 'off',
    about:
      "'on': without an RPC URL, credit what a remote facilitator says; where there is one the chain decides",
  },
  FACILITATOR_API_KEYS: {
    fallback: '',
    about: 'JSON object: keys by name of their holder; settle for others under /facilitator (off without)',
    secret: true,
  },
  ADMIN_API_KEY: {
    fallback: '',
    about: 'key of the operator’s API, 32 characters or more (off without)',
    secret: true,
  },
  TOPUP_MIN_CENTS: { fallback: '100', about: 'smallest top-up that a key may send to somebody' },
  TOPUP_MAX_CENTS: { fallback: '50000', about: 'largest top-up that a key may send to somebody' },
  DELIVERY_URL: {
    fallback: '',
    about: 'your endpoint that delivers live top-ups (without: a voucher’s code is the delivery)',
  },
  DELIVERY_SECRET: { fallback: '', about: 'whsec_… that signs what it is asked', secret: true },
  DATA_ENCRYPTION_KEY: {
    fallback: '',
    about: 'seals webhook secrets and voucher codes: base64 of 32 bytes; a list to change it, newest first',
    secret: true,
  },
  WEBHOOK_RETRY_SECONDS: {
    fallback: '0,5,30,300,1800,7200,28800,86400',
    about: 'waits before the attempts to an operator’s webhook',
  },
  WEBHOOK_ALLOW_LOOPBACK: {
    fallback: 'false',
    about: "'true' in dev: webhooks may lead to this machine; refused by serve",
  },
  CONFIRMATIONS: {
    fallback: '',
    about:
      'blocks before credit, JSON: network to least dollars to blocks or "final", e.g. {"eip155:8453":{"0":1,"1000":"final"}}',
  },
  SIWX_DOMAINS: { fallback: '', about: 'domains a sign-in may name besides the host of PUBLIC_ORIGIN' },
  WALLET_PRIVATE_KEY: {
    fallback: '',
    about: 'EVM or Solana key that `topup-gateway topup` pays from; the server never reads it',
    secret: true,
  },
  TEMPO_RPC_URL: { fallback: '', about: 'JSON-RPC of a Tempo node', secret: true },
  TEMPO_PAY_TO: { fallback: '', about: 'address that receives stablecoins on Tempo (MPP)' },
  MPP_SECRET_KEY: {
    fallback: '',
    about:
      'signs MPP challenges and agents’ API keys, 32 characters or more; without it there is no mobula dialect',
    secret: true,
  },
  AGENT_KEY_SECRET: {
    fallback: '',
    about:
      'agents’ API keys come from it (default: MPP_SECRET_KEY); to change that one, keep its old value here',
    secret: true,
  },
  CREDITS_PER_USD: { fallback: '2500', about: 'credits that agents see for a dollar (mobula)' },
  TRUST_PROXY: {
    fallback: 'off',
    about: "load balancers whose X-Forwarded-For is believed: 'off' or a list of CIDRs",
  },
  RATE_LIMITS: { fallback: 'on', about: "'on' or 'off': the dialects' published limits" },
} as const satisfies Record<string, { fallback: string; about: string; secret?: true }>;

export type SettingName = keyof typeof SETTINGS;

/** Which setting names a network's JSON-RPC URL. */
export const RPC_SETTINGS = {
  'eip155:8453': 'BASE_RPC_URL',
  'eip155:84532': 'BASE_SEPOLIA_RPC_URL',
  'solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp': 'SOLANA_RPC_URL',
  'eip155:4217': 'TEMPO_RPC_URL',
  'eip155:42431': 'TEMPO_RPC_URL',
} as const satisfies Record<string, SettingName>;

/** Settings that name a chain's JSON-RPC URL. */
export type RpcSetting = (typeof RPC_SETTINGS)[keyof typeof RPC_SETTINGS];
