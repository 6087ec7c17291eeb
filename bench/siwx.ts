import { parseSIWxHeader, validateSIWxMessage, verifySIWxSignature } from '@x402/extensions/sign-in-with-x';
import { checkWalletProof } from '../src/customers/wallet-proof.ts';
import { createWalletSignatures, type WalletSignatures } from '../src/customers/wallet-signatures.ts';
import { median, progress, report } from './report.ts';
import { measureHttp } from './siwx/http.ts';
import { createWallets, HOST, ORIGIN, signProof, viemSignatures } from './siwx/proofs.ts';

const PROOFS = 400;
const ROUNDS = 5;
const ROUND_MS = 800;
const WARM_UP_MS = 1_000;

/** Takes a header value and tells whether it proves its wallet. */
type Check = (header: string) => Promise<boolean>;

function checkWith(signatures: WalletSignatures): Check {
  return async header => {
    const checks = { domains: [HOST], nowMs: Date.now(), signatures };
    const proof = await checkWalletProof(header, checks).catch(() => undefined);
    return proof !== undefined;
  };
}

const origin = new URL(ORIGIN);

/** What the official server hook does with a header, its payment look-up aside. */
const official: Check = async header => {
  const payload = parseSIWxHeader(header);
  const validation = await validateSIWxMessage(payload, origin);
  if (!validation.isValid) return false;
  return (await verifySIWxSignature(payload)).isValid;
};

function corrupt(header: string): string {
  const proof = JSON.parse(Buffer.from(header, 'base64').toString()) as { signature: string };
  const { signature } = proof;
  const other = signature[10] === '0' ? '1' : '0';
  const changed = { ...proof, signature: `${signature.slice(0, 10)}${other}${signature.slice(11)}` };
  return Buffer.from(JSON.stringify(changed)).toString('base64');
}

async function requireSameVerdicts(checks: readonly Check[], headers: readonly string[]): Promise<void> {
  for (const header of headers.slice(0, 10)) {
    for (const check of checks) {
      if (!(await check(header))) throw new Error('a good proof was refused');
      if (await check(corrupt(header))) throw new Error('a corrupted signature was accepted');
    }
  }
}

/** Checks one proof after another for the given time. @returns checks per second */
async function measure(check: Check, headers: readonly string[], durationMs: number): Promise<number> {
  const start = performance.now();
  let checked = 0;
  let elapsedMs = 0;
  while (elapsedMs < durationMs) {
    for (let i = 0; i < 20; i += 1) {
      if (!(await check(headers[checked % headers.length] ?? '')))
        throw new Error('a good proof was refused');
      checked += 1;
    }
    elapsedMs = performance.now() - start;
  }
  return (checked / elapsedMs) * 1_000;
}

/** From header to verdict in one process, ours and a baseline in turn over the same proofs. */
async function compare(baseline: string, theirs: Check, headers: readonly string[]): Promise<void> {
  const ours = checkWith(createWalletSignatures([]));
  await requireSameVerdicts([ours, theirs], headers);
  for (const check of [ours, theirs]) await measure(check, headers, WARM_UP_MS);
  const rates: { ours: number[]; theirs: number[] } = { ours: [], theirs: [] };
  for (let round = 1; round <= ROUNDS; round += 1) {
    rates.ours.push(await measure(ours, headers, ROUND_MS));
    rates.theirs.push(await measure(theirs, headers, ROUND_MS));
    progress(
      `${baseline}, round ${round} of ${ROUNDS}: ours ${rates.ours.at(-1)?.toFixed(0)}/s, ` +
        `theirs ${rates.theirs.at(-1)?.toFixed(0)}/s`,
    );
  }
  const value = median(rates.ours);
  report({ name: 'siwx.check', value, unit: 'checks/s', baseline, ratio: value / median(rates.theirs) });
}

/** Sign-in proofs per second: the check alone in one thread, and by the balance route over HTTP. */
export async function run(): Promise<void> {
  const proofs = createWallets(PROOFS).map(signProof);
  await compare(
    'viem',
    checkWith(viemSignatures),
    proofs.map(({ text }) => text),
  );
  await compare(
    'official',
    official,
    proofs.map(({ fields }) => fields),
  );
  await measureHttp();
}
