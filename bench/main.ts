import { existsSync } from 'node:fs';
import { progress } from './report.ts';

/** Each suite in a file of its own that exports `run(args)`, named here relative to this one. */
const SUITES: Record<string, { file: string; about: string }> = {
  verify: {
    file: './verify.ts',
    about: 'payments verified per second, against the official x402 facilitator',
  },
  offer: {
    file: './offer.ts',
    about: '402 offers per second, against @x402/hono and an empty Fastify route',
  },
  siwx: {
    file: './siwx.ts',
    about: 'sign-in proofs checked per second, alone and over HTTP, against viem and @x402/extensions',
  },
  topup: { file: './topup.ts', about: 'paid top-ups per second, against @x402/express' },
  ledger: { file: './ledger.ts', about: 'spending per second, against plain transactions' },
};

interface Suite {
  run(args: string[]): Promise<void>;
}

function usage(problem: string): void {
  const rows = Object.entries(SUITES).map(([name, { about }]) => `  ${name.padEnd(8)} ${about}`);
  progress(`${problem}\n\nusage: npm run bench -- <suite> [arguments]\n\n${rows.join('\n')}`);
  process.exitCode = 2;
}

const [name = '', ...args] = process.argv.slice(2);
const chosen = SUITES[name];
const file = chosen && new URL(chosen.file, import.meta.url);
if (!file || !existsSync(file)) usage(name ? `there is no suite ${name}` : 'which suite?');
else {
  const suite = (await import(file.href)) as Suite;
  await suite.run(args);
}
