/**
 * A process that starts the local parts and then only waits: `local-parent.ts <dataDir> <part>...` with the
 * parts `postgres`, `chain` and `solana`. It writes one line of JSON and handles no signal, so that tests can end it in
 * every way.
 */
import { findEvmNetwork } from '../../src/chains/evm-networks.ts';
import { startLocalEvmChain } from '../../src/local/evm-chain.ts';
import { startLocalPostgres } from '../../src/local/postgres.ts';
import { startTestSolana } from './solana.ts';

const [dataDir = '', ...parts] = process.argv.slice(2);
const base = findEvmNetwork('eip155:8453');
if (!base) throw new Error('Base is not in the table of networks');
const log = (line: string) => process.stderr.write(`${line}\n`);

const postgres = parts.includes('postgres')
  ? await startLocalPostgres({ dataDir, fsync: false, log })
  : undefined;
const chain = parts.includes('chain')
  ? await startLocalEvmChain({ dataDir, chainId: base.chainId, token: base.usdc, log })
  : undefined;
const solana = parts.includes('solana') ? await startTestSolana({ dataDir, log }) : undefined;
process.stdout.write(
  `${JSON.stringify({
    uid: process.getuid?.(),
    databaseUrl: postgres?.databaseUrl,
    fresh: postgres?.fresh,
    rpcUrl: chain?.rpcUrl ?? solana?.rpcUrl,
    restored: chain?.restored ?? solana?.restored,
  })}\n`,
);
