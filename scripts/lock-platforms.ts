/**
 * Adds to package-lock.json the platform packages that `npm install` left out because they are for other
 * systems; `npm ci` refuses a lock file without them. Works on the file alone, without the network:
 * `node --import tsx scripts/lock-platforms.ts [--check] [file...]`; `--check` only reports and exits 1.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

interface LockedPackage {
  version?: string;
  dev?: boolean;
  devOptional?: boolean;
  optional?: boolean;
  os?: string[];
  cpu?: string[];
  libc?: string[];
  optionalDependencies?: Record<string, string>;
}

export interface LockFile {
  packages: Record<string, LockedPackage>;
}

/** Words in package names that name an operating system, as `process.platform` writes it. */
const SYSTEMS: Readonly<Record<string, string>> = {
  aix: 'aix',
  android: 'android',
  darwin: 'darwin',
  freebsd: 'freebsd',
  linux: 'linux',
  netbsd: 'netbsd',
  openbsd: 'openbsd',
  openharmony: 'openharmony',
  sunos: 'sunos',
  win32: 'win32',
  windows: 'win32',
};

/** The same for processors, as `process.arch` writes them. */
const PROCESSORS: Readonly<Record<string, string>> = {
  amd64: 'x64',
  arm: 'arm',
  arm64: 'arm64',
  ia32: 'ia32',
  loong64: 'loong64',
  mips64el: 'mips64el',
  ppc64: 'ppc64',
  riscv64: 'riscv64',
  s390x: 's390x',
  x64: 'x64',
};

const C_LIBRARIES: Readonly<Record<string, string>> = { gnu: 'glibc', musl: 'musl', musleabihf: 'musl' };

/**
 * Adds an entry for every optional dependency that the lock file names and does not hold. Entries carry no
 * integrity: nothing here can know it, and npm then takes the registry's.
 * @returns the keys that were missing; `lock` holds them afterwards.
 * @throws when a missing package's name does not tell its platform.
 */
export function addMissingPlatforms(lock: LockFile): string[] {
  const added: string[] = [];
  for (const [parentKey, parent] of Object.entries(lock.packages)) {
    for (const [name, range] of Object.entries(parent.optionalDependencies ?? {})) {
      if (find(lock, parentKey, name, range)) continue;
      const shared = `node_modules/${name}`;
      const key = shared in lock.packages ? `${parentKey}/${shared}` : shared;
      lock.packages[key] = describe(parent, name, range);
      added.push(key);
    }
  }
  const sorted = Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en'));
  lock.packages = Object.fromEntries(sorted);
  return added;
}

/** Looks where Node would: in the parent's own folder, then in every folder above it. */
function find(lock: LockFile, parentKey: string, name: string, range: string): boolean {
  const steps = parentKey.split(/(?:^|\/)node_modules\//);
  for (let depth = steps.length; depth > 0; depth -= 1) {
    const folder = steps.slice(1, depth).map(step => `node_modules/${step}/`);
    const found = lock.packages[`${folder.join('')}node_modules/${name}`];
    // A range may be met by another version; an exact version only by itself.
    if (found) return /^\d/.test(range) ? found.version === range : true;
  }
  return false;
}

function describe(parent: LockedPackage, name: string, range: string): LockedPackage {
  const words = name.split(/[/-]/);
  const pick = (table: Readonly<Record<string, string>>) =>
    words.map(word => table[word]).find(value => value !== undefined);
  const [os, cpu, libc] = [pick(SYSTEMS), pick(PROCESSORS), pick(C_LIBRARIES)];
  if (!os || !cpu) throw new Error(`the name ${name} does not tell its platform; add it to the lock by hand`);
  return {
    version: range.replace(/^[\^~]/, ''),
    cpu: [cpu],
    ...(parent.dev ? { dev: true } : {}),
    ...(parent.devOptional ? { devOptional: true } : {}),
    ...(libc ? { libc: [libc] } : {}),
    optional: true,
    os: [os],
  };
}

function run(files: readonly string[], checkOnly: boolean): number {
  let missing = 0;
  for (const file of files) {
    const lock = JSON.parse(readFileSync(file, 'utf8')) as LockFile;
    const added = addMissingPlatforms(lock);
    missing += added.length;
    console.log(`${file}: ${added.length} platform packages ${checkOnly ? 'missing' : 'added'}`);
    for (const key of added) console.log(`  ${key.replace(/^.*node_modules\//, '')}`);
    if (added.length > 0 && !checkOnly) writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
  }
  return checkOnly && missing > 0 ? 1 : 0;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const options = process.argv.slice(2);
  const files = options.filter(option => option !== '--check');
  process.exitCode = run(files.length > 0 ? files : ['package-lock.json'], options.includes('--check'));
}
