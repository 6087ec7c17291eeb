import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Ajv } from 'ajv';
import { afterAll, describe, expect, it } from 'vitest';
import { parseDocument } from 'yaml';
import { loadConfig } from '../../src/config/config.ts';
import { requireSetting } from '../../src/config/read.ts';
import { SETTINGS } from '../../src/config/settings.ts';
import { ComposeFile } from './compose-schema.ts';
import { readDockerfile, readProjectFile } from './project.ts';

const yaml = parseDocument(readProjectFile('docker-compose.yml'), { uniqueKeys: true });
const compose = yaml.toJS() as ComposeFile;
const services = Object.entries(compose.services);

const folder = mkdtempSync(path.join(tmpdir(), 'compose-'));
afterAll(() => rmSync(folder, { recursive: true }));

const SECRETS: Record<string, string> = {
  database_url: 'postgres://gateway:password@postgres:5432/gateway',
  evm_private_key: `0x${'ab'.repeat(32)}`,
  base_rpc_url: 'https://rpc.example.com/token',
};

const DOT_ENV: Record<string, string> = {
  PUBLIC_ORIGIN: 'https://pay.example.com',
  EVM_PAY_TO: `0x${'11'.repeat(20)}`,
};

/** The environment that a container of this service gets: variables filled in, secrets mounted as files. */
function environmentOf(service: string, dotEnv = DOT_ENV): Record<string, string> {
  const { environment, secrets } = compose.services[service] ?? { environment: {}, secrets: [] };
  const entries = Object.entries(environment).map(([name, text]) => {
    const value = text.replaceAll(/\$\{(\w+):([?-])([^}]*)\}/g, (_match, variable, kind, rest) => {
      const given = dotEnv[variable as string];
      if (given === undefined && kind === '?') throw new Error(`${variable}: ${rest}`);
      return given ?? (rest as string);
    });
    return [name, value.replace('/run/secrets', folder)];
  });
  for (const secret of secrets) writeFileSync(path.join(folder, secret), `${SECRETS[secret] ?? ''}\n`);
  return Object.fromEntries(entries) as Record<string, string>;
}

describe('docker-compose.yml', () => {
  it('is a well-formed compose file', () => {
    expect([...yaml.errors, ...yaml.warnings]).toEqual([]);
    const validate = new Ajv({ allErrors: true, strict: false }).compile(ComposeFile);
    validate(compose);
    expect(validate.errors ?? []).toEqual([]);
    for (const [name, { image, build }] of services) {
      expect([name, image === undefined]).toEqual([name, build !== undefined]);
    }
  });

  it('refers only to networks, volumes and secrets that it defines, and to each of them', () => {
    const used = {
      networks: services.flatMap(([, service]) => service.networks),
      volumes: services.flatMap(([, { volumes = [] }]) => volumes.map(volume => volume.split(':')[0])),
      secrets: services.flatMap(([, service]) => service.secrets),
    };
    for (const kind of ['networks', 'volumes', 'secrets'] as const) {
      expect(new Set(used[kind])).toEqual(new Set(Object.keys(compose[kind])));
    }
    for (const [name, { file }] of Object.entries(compose.secrets)) expect(file).toBe(`./secrets/${name}`);
  });

  it('gives each service the files of the secrets that it names, and no others', () => {
    for (const [, { environment, secrets }] of services) {
      const named = Object.entries(environment)
        .filter(([name]) => name.endsWith('_FILE'))
        .map(([, file]) => file);
      expect(named.toSorted()).toEqual(secrets.map(secret => `/run/secrets/${secret}`).toSorted());
    }
  });

  it.each(['gateway', 'migrate'])('sets nothing that %s does not know, and no secret in clear', service => {
    for (const name of Object.keys(compose.services[service]?.environment ?? {})) {
      const plain = name.replace(/_FILE$/, '');
      expect(Object.keys(SETTINGS)).toContain(plain);
      expect([name, 'secret' in SETTINGS[plain as keyof typeof SETTINGS]]).toEqual([
        name,
        name.endsWith('_FILE'),
      ]);
    }
  });

  it('gives the server everything that it requires', () => {
    const config = loadConfig('serve', environmentOf('gateway'));
    expect(config).toMatchObject({
      databaseUrl: SECRETS['database_url'],
      evmPrivateKeys: [SECRETS['evm_private_key']],
      rpcUrls: { BASE_RPC_URL: SECRETS['base_rpc_url'] },
      publicOrigin: DOT_ENV['PUBLIC_ORIGIN'],
      port: 4020,
      host: '0.0.0.0',
      trustProxy: false,
    });
    expect(() => environmentOf('gateway', {})).toThrow(/PUBLIC_ORIGIN|EVM_PAY_TO/);
    expect(requireSetting('DATABASE_URL', environmentOf('migrate'))).toBe(SECRETS['database_url']);
  });

  it('starts the gateway once the database is healthy and migrated', () => {
    const health = new Set(
      services
        .filter(([, { healthcheck, build }]) => {
          return healthcheck ? 'test' in healthcheck : build !== undefined && imageHasHealthCheck();
        })
        .map(([name]) => name),
    );
    expect(health).toEqual(new Set(['postgres', 'gateway']));
    for (const [, { depends_on = {} }] of services) {
      for (const [name, { condition }] of Object.entries(depends_on)) {
        const needed = compose.services[name];
        expect(needed).toBeDefined();
        if (condition === 'service_healthy') expect(health).toContain(name);
        else expect(needed?.restart).toBe('no');
      }
    }
    expect(Object.keys(compose.services['gateway']?.depends_on ?? {})).toEqual(['postgres', 'migrate']);
  });

  it('keeps the database inside and the gateway on this machine', () => {
    expect(compose.services['postgres']).toMatchObject({ image: 'postgres:18', networks: ['database'] });
    expect(compose.networks['database']).toEqual({ internal: true });
    const published = services.map(([name, { ports = [] }]) => [name, ports]);
    expect(Object.fromEntries(published)).toEqual({
      postgres: [],
      migrate: [],
      gateway: [`127.0.0.1:${SETTINGS.PORT.fallback}:${SETTINGS.PORT.fallback}`],
    });
  });
});

describe('docker-compose.test-money.yml', () => {
  interface Addition {
    services: Record<string, { environment: Record<string, string>; secrets: string[] }>;
    secrets: Record<string, { file: string }>;
  }
  const addition = parseDocument(readProjectFile('docker-compose.test-money.yml')).toJS() as Addition;

  it('adds Base Sepolia to the gateway and nothing else', () => {
    const { environment = {}, secrets = [] } = addition.services['gateway'] ?? {};
    expect(Object.keys(addition.services)).toEqual(['gateway']);
    expect(addition.secrets).toEqual({ base_sepolia_rpc_url: { file: './secrets/base_sepolia_rpc_url' } });
    expect(secrets).toEqual(['base_sepolia_rpc_url']);
    const url = 'https://sepolia.example.com/token';
    for (const secret of secrets) writeFileSync(path.join(folder, secret), url);
    const added = Object.entries(environment).map(([name, value]) => [
      name,
      value.replace('/run/secrets', folder),
    ]);
    const merged = { ...environmentOf('gateway'), ...(Object.fromEntries(added) as Record<string, string>) };
    expect(loadConfig('serve', merged)).toMatchObject({
      networks: ['eip155:8453', 'eip155:84532'],
      rpcUrls: { BASE_SEPOLIA_RPC_URL: url },
    });
  });
});

function imageHasHealthCheck(): boolean {
  return readDockerfile().some(({ keyword }) => keyword === 'HEALTHCHECK');
}
