import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const SOURCE_ROOT = path.resolve(import.meta.dirname, '../src');

const LEAVES = ['lib'];
const ADAPTER = ['lib', 'http', 'ports'];
const DOMAIN = ['lib', 'db', 'ports'];
const USE_CASE = ['lib', 'config', 'db', 'http', 'ports', 'ledger', 'customers', 'payments', 'webhooks'];
const SURFACE = ['lib', 'http', 'protocols', 'accounts', 'topups', 'metering', 'subscriptions', 'vouchers'];
/** Surfaces may use the types of these, and nothing that runs. */
const SURFACE_TYPES = ['ledger', 'customers', 'payments', 'webhooks', 'ports'];

/** Which folders (or top files) of src a folder may import, besides itself. */
const ALLOWED: Record<string, readonly string[]> = {
  lib: [],
  config: LEAVES,
  db: LEAVES,
  http: LEAVES,
  ports: LEAVES,
  ledger: DOMAIN,
  customers: DOMAIN,
  payments: DOMAIN,
  webhooks: DOMAIN,
  accounts: USE_CASE,
  topups: USE_CASE,
  metering: USE_CASE,
  subscriptions: USE_CASE,
  vouchers: USE_CASE,
  chains: ADAPTER,
  protocols: ADAPTER,
  facilitators: ADAPTER,
  upstreams: ADAPTER,
  local: ADAPTER,
  sandbox: ADAPTER,
  client: LEAVES,
  dialects: SURFACE,
  admin: SURFACE,
  'public-api': SURFACE,
};

/** Rank 5: the files that build the object graph. */
const TOP = new Set(['cli', 'app', 'services', 'readiness', 'commands']);

/** Packages that only the named folders may import: the seams where they could be replaced. */
const PACKAGE_OWNERS: Record<string, readonly string[]> = {
  pg: ['db', ...TOP],
  'node-pg-migrate': ['db'],
  'drizzle-orm': [
    'db',
    'ledger',
    'customers',
    'payments',
    'webhooks',
    'topups',
    'subscriptions',
    'vouchers',
    'admin',
  ],
  '@x402/core': ['facilitators', 'protocols'],
  '@x402/evm': ['facilitators'],
  '@x402/svm': ['local', 'commands'],
  mppx: ['facilitators', 'protocols'],
  secp256k1: ['lib'],
  fastify: ['http', 'dialects', 'admin', 'public-api', 'sandbox', ...TOP],
};

interface Import {
  file: string;
  from: string;
  target: string;
  typeOnly: boolean;
}

function sourceFiles(): string[] {
  return readdirSync(SOURCE_ROOT, { recursive: true, encoding: 'utf8' }).filter(f => f.endsWith('.ts'));
}

function segment(relative: string): string {
  return (relative.split(path.sep)[0] ?? '').replace(/\.ts$/, '');
}

function importsOf(file: string): Import[] {
  const text = readFileSync(path.join(SOURCE_ROOT, file), 'utf8');
  const found = text.matchAll(/^(?:import|export)\s+(type\s+)?(?:[^'"`;]*?\sfrom\s+)?['"]([^'"]+)['"]/gms);
  return [...found].map(match => ({
    file,
    from: segment(file),
    target: match[2] ?? '',
    typeOnly: match[1] !== undefined,
  }));
}

const imports = sourceFiles().flatMap(importsOf);

describe('layers', () => {
  it('reads the source tree', () => {
    expect(sourceFiles().length).toBeGreaterThan(10);
    expect(imports.length).toBeGreaterThan(20);
  });

  it('imports only downward', () => {
    const wrong = imports.filter(({ file, from, target, typeOnly }) => {
      if (!target.startsWith('.')) return false;
      const to = segment(path.relative(SOURCE_ROOT, path.resolve(SOURCE_ROOT, path.dirname(file), target)));
      if (to === from || TOP.has(from)) return false;
      const allowed = ALLOWED[from] ?? [];
      if (allowed.includes(to)) return false;
      const surface = ['dialects', 'admin', 'public-api'].includes(from);
      return !(surface && typeOnly && SURFACE_TYPES.includes(to));
    });
    expect(wrong).toEqual([]);
  });

  it('keeps packages behind their seams', () => {
    const wrong = imports.filter(({ from, target, typeOnly }) => {
      const name = target.startsWith('@')
        ? target.split('/').slice(0, 2).join('/')
        : (target.split('/')[0] ?? '');
      const owners = PACKAGE_OWNERS[name];
      return owners !== undefined && !owners.includes(from) && !typeOnly;
    });
    expect(wrong).toEqual([]);
  });

  it('keeps dialects apart from each other', () => {
    const wrong = imports.filter(({ file, target }) => {
      const own = file.split(path.sep);
      if (own[0] !== 'dialects' || own.length < 3 || !target.startsWith('.')) return false;
      const resolved = path
        .relative(SOURCE_ROOT, path.resolve(SOURCE_ROOT, path.dirname(file), target))
        .split(path.sep);
      return resolved[0] === 'dialects' && resolved.length > 2 && resolved[1] !== own[1];
    });
    expect(wrong).toEqual([]);
  });

  it('has a rule for every folder', () => {
    const folders = new Set(sourceFiles().map(segment));
    expect([...folders].filter(f => !(f in ALLOWED) && !TOP.has(f))).toEqual([]);
  });
});
