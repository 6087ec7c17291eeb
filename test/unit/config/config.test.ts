import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { describeConfig, loadConfig } from '../../../src/config/config.ts';
import { requireDatabase } from '../../../src/config/database.ts';
import { ConfigError, requireSetting } from '../../../src/config/read.ts';
import { newSvmKey } from '../../support/svm-key.ts';
import { SOLANA } from '../../support/svm-transaction.ts';

const [receiver, feePayer] = [newSvmKey(), newSvmKey()];
const folder = mkdtempSync(path.join(tmpdir(), 'config-'));
afterAll(() => rmSync(folder, { recursive: true }));

const GOOD = {
  DATABASE_URL: 'postgres://user:secret-password@db/gateway',
  PUBLIC_ORIGIN: 'https://pay.example.com',
  EVM_PAY_TO: '0x2670B922ef37C7Df47158725C0CC407b5382293F',
  EVM_PRIVATE_KEY: `0x${'ab'.repeat(32)}`,
  BASE_RPC_URL: 'https://rpc.example.com/secret-token',
};

function problemsOf(mode: 'serve' | 'sandbox', env: Record<string, string | undefined>): readonly string[] {
  try {
    loadConfig(mode, env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

describe('the configuration', () => {
  it('is frozen, canonical and complete', () => {
    const config = loadConfig('serve', GOOD);
    expect(Object.isFrozen(config)).toBe(true);
    expect(config).toMatchObject({
      evmPayTo: GOOD.EVM_PAY_TO.toLowerCase(),
      siwxDomains: ['pay.example.com'],
      rateLimits: true,
      trustProxy: false,
      port: 4020,
    });
  });

  it.each([
    ['', ['pay.example.com']],
    ['api.venice.ai', ['pay.example.com', 'api.venice.ai']],
    ['api.venice.ai, pay.example.com', ['pay.example.com', 'api.venice.ai']],
  ])('lets wallets sign in for our own host, whatever SIWX_DOMAINS adds: %s', (SIWX_DOMAINS, domains) => {
    expect(loadConfig('serve', { ...GOOD, SIWX_DOMAINS }).siwxDomains).toEqual(domains);
  });

  it('needs no RPC URL where a remote facilitator is trusted, and only there', () => {
    const { BASE_RPC_URL: _, ...bare } = GOOD;
    const remote = { ...bare, FACILITATORS: 'https://facilitator.example.com', TRUST_FACILITATOR: 'on' };
    expect(problemsOf('serve', remote)).toEqual([]);
    expect(problemsOf('serve', { ...remote, TRUST_FACILITATOR: 'off' })).toEqual([
      'BASE_RPC_URL is required',
    ]);
    expect(problemsOf('serve', { ...remote, FACILITATORS: 'embedded' })).toEqual([
      'BASE_RPC_URL is required',
    ]);
    expect(problemsOf('serve', { ...GOOD, TRUST_FACILITATOR: 'yes' })).toEqual([
      "TRUST_FACILITATOR must be 'on' or 'off'",
    ]);
    expect(loadConfig('serve', GOOD).trustFacilitator).toBe(false);
  });

  it('reads confirmations by network and amount, and prints them as they were written', () => {
    const CONFIRMATIONS = '{"eip155:8453":{"0":2,"1000":"final"}}';
    const config = loadConfig('serve', { ...GOOD, CONFIRMATIONS });
    expect(config.confirmations).toEqual({
      'eip155:8453': [
        { fromNanoUsd: 0n, depth: 2 },
        { fromNanoUsd: 1_000_000_000_000n, depth: 'final' },
      ],
    });
    expect(JSON.stringify(describeConfig(config)['confirmations'])).toBe(CONFIRMATIONS);
  });

  it('takes cells in the order of their list, each once', () => {
    expect(loadConfig('serve', GOOD).cells).toEqual(['cell_0']);
    const CELLS = ' cell_1,cell_0, cell_1 ';
    expect(loadConfig('serve', { ...GOOD, CELLS }).cells).toEqual(['cell_1', 'cell_0']);
    expect(requireDatabase({ ...GOOD, CELLS }).cells).toEqual(['cell_1', 'cell_0']);
  });

  it.each(['directory', 'public', 'pg_temp', 'information_schema', 'Cell', 'a b', 'a"b', '1st', ','])(
    'refuses %s as the name of a cell',
    CELLS => {
      const problem = expect.stringMatching(/^CELLS/);
      const problems = problemsOf('serve', { ...GOOD, CELLS });
      expect([problems[0], problems.every(each => each.startsWith('CELLS'))]).toEqual([problem, true]);
      expect(() => requireDatabase({ ...GOOD, CELLS })).toThrow(ConfigError);
    },
  );

  it.each(['1', '{}', '{"eip155:8453":{"1000":1}}', '{"base":{"0":1}}', '{"eip155:8453":{"0":"many"}}'])(
    'refuses confirmations that leave an amount open or unclear: %s',
    CONFIRMATIONS => {
      expect(problemsOf('serve', { ...GOOD, CONFIRMATIONS })).toEqual([
        expect.stringContaining('CONFIRMATIONS'),
      ]);
    },
  );

  it('takes agents’ keys from the secret of MPP until they have one of their own', () => {
    const MPP_SECRET_KEY = 'm'.repeat(32);
    expect(loadConfig('serve', { ...GOOD, MPP_SECRET_KEY }).agentKeySecret).toBe(MPP_SECRET_KEY);
    const AGENT_KEY_SECRET = 'a'.repeat(32);
    const config = loadConfig('serve', { ...GOOD, MPP_SECRET_KEY, AGENT_KEY_SECRET });
    expect(config.agentKeySecret).toBe(AGENT_KEY_SECRET);
    expect(JSON.stringify(describeConfig(config))).not.toContain(AGENT_KEY_SECRET);
    expect(problemsOf('serve', { ...GOOD, MPP_SECRET_KEY, AGENT_KEY_SECRET: 'short' })).toEqual([
      expect.stringContaining('AGENT_KEY_SECRET'),
    ]);
  });

  it('takes one Tempo network at most, in the sandbox too, with a node, a receiver and a secret', () => {
    const both = 'eip155:4217,eip155:42431';
    for (const mode of ['serve', 'sandbox'] as const) {
      expect(problemsOf(mode, { NETWORKS: both })).toContain('NETWORKS must name one Tempo network at most');
    }
    expect(problemsOf('serve', { ...GOOD, NETWORKS: 'eip155:8453,eip155:4217' })).toEqual([
      'TEMPO_PAY_TO is required',
      'MPP_SECRET_KEY is required',
      'TEMPO_RPC_URL is required',
    ]);
  });

  it('never prints a secret', () => {
    const text = JSON.stringify(describeConfig(loadConfig('serve', GOOD)));
    for (const secret of ['secret-password', 'secret-token', 'abab']) expect(text).not.toContain(secret);
    expect(text).toContain('pay.example.com');
  });

  it.each(['DATABASE_URL', 'PUBLIC_ORIGIN', 'EVM_PAY_TO', 'EVM_PRIVATE_KEY', 'BASE_RPC_URL'])(
    'refuses production without %s, by name',
    name => {
      expect(problemsOf('serve', { ...GOOD, [name]: undefined })).toEqual([expect.stringContaining(name)]);
    },
  );

  it('asks for the node of each network that is named, and only of those', () => {
    const both = { ...GOOD, NETWORKS: 'eip155:8453,eip155:84532' };
    expect(problemsOf('serve', both)).toEqual(['BASE_SEPOLIA_RPC_URL is required']);
    expect(problemsOf('serve', { ...both, BASE_SEPOLIA_RPC_URL: 'https://rpc.example.com' })).toEqual([]);
    const sepolia = { ...GOOD, NETWORKS: 'eip155:84532', BASE_RPC_URL: undefined };
    expect(problemsOf('serve', sepolia)).toEqual(['BASE_SEPOLIA_RPC_URL is required']);
  });

  describe('with Solana', () => {
    const onSolana = {
      ...GOOD,
      NETWORKS: SOLANA,
      SVM_PAY_TO: receiver.address,
      SVM_PRIVATE_KEY: feePayer.secret,
      SOLANA_RPC_URL: 'https://rpc.example.com/solana-token',
    };

    it('needs no setting of other chains, and keeps an address as it is', () => {
      const alone = {
        ...onSolana,
        EVM_PAY_TO: undefined,
        EVM_PRIVATE_KEY: undefined,
        BASE_RPC_URL: undefined,
      };
      expect(problemsOf('serve', alone)).toEqual([]);
      expect(loadConfig('serve', alone).svmPayTo).toBe(receiver.address);
    });

    it.each(['SVM_PAY_TO', 'SVM_PRIVATE_KEY', 'SOLANA_RPC_URL'])('refuses production without %s', name => {
      expect(problemsOf('serve', { ...onSolana, [name]: undefined })).toEqual([`${name} is required`]);
    });

    it.each([
      ['SVM_PAY_TO', GOOD.EVM_PAY_TO],
      ['SVM_PAY_TO', receiver.address.repeat(2)],
      ['SVM_PRIVATE_KEY', GOOD.EVM_PRIVATE_KEY],
      ['SVM_PRIVATE_KEY', receiver.address],
      ['SOLANA_RPC_URL', 'nowhere'],
    ])('refuses %s=%s', (name, value) => {
      expect(problemsOf('serve', { ...onSolana, [name]: value }).join()).toContain(name);
    });

    it('never prints the key or the node', () => {
      const text = JSON.stringify(describeConfig(loadConfig('serve', onSolana)));
      expect(text).not.toContain(feePayer.secret);
      expect(text).not.toContain('solana-token');
    });

    it('stays on this machine in the sandbox', () => {
      const { SOLANA_RPC_URL } = onSolana;
      expect(problemsOf('sandbox', { SOLANA_RPC_URL })).toEqual([
        'SOLANA_RPC_URL must be loopback in the sandbox',
      ]);
    });
  });

  it('lists every problem at once', () => {
    expect(problemsOf('serve', {})).toHaveLength(5);
  });

  it.each([
    ['PORT', '70000'],
    ['PORT', '40.5'],
    ['PUBLIC_ORIGIN', 'https://pay.example.com/path'],
    ['PUBLIC_ORIGIN', 'ftp://pay.example.com'],
    ['EVM_PAY_TO', '0x123'],
    ['EVM_PRIVATE_KEY', 'abc'],
    ['EVM_PRIVATE_KEY', `${GOOD.EVM_PRIVATE_KEY},${GOOD.EVM_PRIVATE_KEY}`],
    ['BASE_RPC_URL', 'nowhere'],
    ['BASE_SEPOLIA_RPC_URL', 'nowhere'],
    ['DIALECTS', 'venice,klingon'],
    ['LOG_LEVEL', 'loud'],
    ['RATE_LIMITS', 'maybe'],
    ['FACILITATORS', 'embeded'],
    ['FACILITATORS', 'http://facilitator.example.com'],
    ['FACILITATORS', 'https://user:secret@facilitator.example.com'],
    ['FACILITATORS', 'https://facilitator.example.com?key=secret'],
    ['FACILITATORS', 'embedded,embedded'],
    ['FACILITATOR_HEADERS', 'Bearer secret'],
    ['FACILITATOR_HEADERS', '{"https://other.example.com":{"authorization":"x"}}'],
    ['FACILITATOR_AUTH', '{"https://other.example.com":"./auth.mjs"}'],
    ['TRUST_PROXY', 'everybody'],
    ['TRUST_PROXY', '1'],
    ['TRUST_PROXY', '10.0.0.0/40'],
  ])('refuses %s=%s', (name, value) => {
    expect(problemsOf('serve', { ...GOOD, [name]: value }).join()).toContain(name);
  });

  it.each([
    ['off', false],
    ['10.0.0.0/8,::1', ['10.0.0.0/8', '::1']],
  ])('reads TRUST_PROXY=%s', (text, value) => {
    expect(loadConfig('serve', { ...GOOD, TRUST_PROXY: text }).trustProxy).toEqual(value);
  });

  it('reads an ordered list of facilitators and the headers of each', () => {
    const url = 'https://facilitator.example.com/x402';
    const env = {
      ...GOOD,
      FACILITATORS: `${url}/, embedded, http://127.0.0.1:4022`,
      FACILITATOR_HEADERS: JSON.stringify({ [url]: { Authorization: 'Bearer very-secret' } }),
    };
    const config = loadConfig('serve', env);
    expect(config.facilitators).toEqual([url, 'embedded', 'http://127.0.0.1:4022']);
    expect(config.facilitatorHeaders).toEqual({ [url]: { Authorization: 'Bearer very-secret' } });
    expect(JSON.stringify(describeConfig(config))).not.toContain('very-secret');
  });

  it.each([
    ['host', 'example.com'],
    ['authorization', 'two\nlines'],
    ['a header', 'x'],
    ['authorization', 7],
  ])('refuses the header %s: %j', (name, value) => {
    const url = 'https://facilitator.example.com';
    const env = {
      ...GOOD,
      FACILITATORS: url,
      FACILITATOR_HEADERS: JSON.stringify({ [url]: { [name]: value } }),
    };
    expect(problemsOf('serve', env).join()).toContain('FACILITATOR_HEADERS');
  });

  it('keeps the sandbox away from real chains', () => {
    expect(problemsOf('sandbox', { BASE_RPC_URL: 'https://mainnet.base.org' })).toEqual([
      expect.stringContaining('BASE_RPC_URL'),
    ]);
    expect(problemsOf('sandbox', { BASE_SEPOLIA_RPC_URL: 'https://sepolia.base.org' })).toHaveLength(1);
    expect(problemsOf('sandbox', { BASE_RPC_URL: 'http://127.0.0.1:8545' })).toEqual([]);
  });

  it('reads secrets from files and refuses unknown keys in CONFIG', () => {
    const key = path.join(folder, 'key');
    writeFileSync(key, `${GOOD.EVM_PRIVATE_KEY}\n`);
    const config = loadConfig('serve', { ...GOOD, EVM_PRIVATE_KEY: undefined, EVM_PRIVATE_KEY_FILE: key });
    expect(config.evmPrivateKeys).toEqual([GOOD.EVM_PRIVATE_KEY]);

    const file = path.join(folder, 'config.json');
    writeFileSync(file, JSON.stringify({ PORT: 5000, PROT: 1 }));
    expect(problemsOf('serve', { ...GOOD, CONFIG: file })).toEqual([expect.stringContaining('PROT')]);
    writeFileSync(file, JSON.stringify({ PORT: 5000 }));
    expect(loadConfig('serve', { ...GOOD, CONFIG: file }).port).toBe(5000);
    expect(loadConfig('serve', { ...GOOD, CONFIG: file, PORT: '6000' }).port).toBe(6000);
    expect(problemsOf('serve', { ...GOOD, CONFIG: path.join(folder, 'none') })).toHaveLength(1);
  });

  it('gives a command one setting without asking for the others', () => {
    const url = path.join(folder, 'url');
    writeFileSync(url, `${GOOD.DATABASE_URL}\n`);
    expect(requireSetting('DATABASE_URL', { DATABASE_URL_FILE: url })).toBe(GOOD.DATABASE_URL);
    expect(requireSetting('DATABASE_URL', { DATABASE_URL: 'postgres://db/other' })).toBe(
      'postgres://db/other',
    );
    expect(() => requireSetting('DATABASE_URL', {})).toThrow(/DATABASE_URL is required/);
    const none = path.join(folder, 'none');
    expect(() => requireSetting('DATABASE_URL', { DATABASE_URL_FILE: none })).toThrow(/cannot be read/);
  });
});
