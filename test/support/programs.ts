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

/** Programs that tests start as processes, by the names of their sources in this folder. */
const PROGRAMS = ['crash-gateway', 'facilitator-process'] as const;

/**
 * Bundles the programs that tests start again and again: one that loads its thousand source files one by one takes
 * ten times as long to start.
 * @returns the folder; `remove` deletes it
 */
export async function buildPrograms(): Promise<{ folder: string; remove(): Promise<void> }> {
  await mkdir(BUNDLES, { recursive: true });
  const folder = await mkdtemp(path.join(BUNDLES, 'programs-'));
  await build({
    entryPoints: PROGRAMS.map(name => path.join(SUPPORT, `${name}.ts`)),
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
