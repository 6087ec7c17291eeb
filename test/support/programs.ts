import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { build } from 'esbuild';

const SUPPORT = import.meta.dirname;
// Two folders deep, as the sources are: they find the migrations and the manifest by their own place.
const BUNDLES = path.resolve(SUPPORT, '../../.cache');

/** Native ones, and those that read files beside themselves. */
const NOT_BUNDLED = ['secp256k1', 'pg-native', 'fastify', 'pino', '@fastify/swagger', '@fastify/swagger-ui'];

/** Packages of the older kind load others when they run. */
const REQUIRE = `import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);`;

/** Programs that tests start as processes, and their sources. */
const PROGRAMS = {
  'crash-gateway': path.join(SUPPORT, 'crash-gateway.ts'),
  'facilitator-process': path.join(SUPPORT, 'facilitator-process.ts'),
  // All commands but dev, which loads files beside its sources.
  cli: path.resolve(SUPPORT, '../../src/cli.ts'),
};

/**
 * Bundles the programs that tests start again and again: one that loads its thousand source files one by one takes
 * ten times as long to start.
 * @returns the folder; `remove` deletes it
 */
export async function buildPrograms(): Promise<{ folder: string; remove(): Promise<void> }> {
  await mkdir(BUNDLES, { recursive: true });
  const folder = await mkdtemp(path.join(BUNDLES, 'programs-'));
  await build({
    entryPoints: PROGRAMS,
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: NOT_BUNDLED,
    banner: { js: REQUIRE },
    logLevel: 'error',
  });
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}
