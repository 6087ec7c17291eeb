/**
 * Compiles the contracts of the local chains and writes what the sandbox puts on them:
 * `node --import tsx scripts/compile-contracts.ts`. A test checks that the written files match the sources.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

interface CompilerOutput {
  errors?: { severity: string; formattedMessage: string }[];
  contracts: Record<
    string,
    Record<string, { abi: unknown[]; evm: { deployedBytecode: { object: string } } }>
  >;
}

interface Solc {
  compile(input: string): string;
}

const ROOT = path.resolve(import.meta.dirname, '..');

/** Each contract with the file its runtime code goes to. */
export const CONTRACTS = [
  { name: 'TestUsdc', target: 'src/local/test-usdc.artifact.json' },
  { name: 'Multicall3', target: 'src/local/multicall3.artifact.json' },
  { name: 'Permit2', target: 'src/local/permit2.artifact.json' },
  { name: 'X402ExactPermit2Proxy', target: 'src/local/x402-exact-permit2-proxy.artifact.json' },
] as const;

/**
 * @param file where the contract is, when it is not alone in a file of its name
 * @returns the artifact's text: runtime bytecode and interface, no metadata that depends on the machine.
 */
export function compileContract(name: string, file = `${name}.sol`): string {
  const solc = createRequire(import.meta.url)('solc') as Solc;
  const input = {
    language: 'Solidity',
    sources: { [file]: { content: readFileSync(path.join(ROOT, 'contracts', file), 'utf8') } },
    settings: {
      optimizer: { enabled: true, runs: 10_000 },
      evmVersion: 'cancun',
      metadata: { bytecodeHash: 'none', appendCBOR: false },
      outputSelection: { [file]: { [name]: ['abi', 'evm.deployedBytecode.object'] } },
    },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input))) as CompilerOutput;
  const problems = output.errors?.filter(error => error.severity === 'error') ?? [];
  const contract = output.contracts?.[file]?.[name];
  if (problems.length > 0 || !contract) throw new Error(problems.map(p => p.formattedMessage).join('\n'));
  const artifact = {
    contract: name,
    runtimeBytecode: `0x${contract.evm.deployedBytecode.object}`,
    abi: contract.abi,
  };
  return `${JSON.stringify(artifact)}\n`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  for (const { name, target } of CONTRACTS) {
    writeFileSync(path.join(ROOT, target), compileContract(name));
    console.log(`${target} written`);
  }
}
