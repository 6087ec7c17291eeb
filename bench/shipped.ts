import type * as SignIn from '../src/accounts/sign-in.ts';
import type * as App from '../src/app.ts';
import type * as Config from '../src/config/config.ts';
import type * as Pool from '../src/db/pool.ts';
import type * as Log from '../src/http/log.ts';
import type * as Clock from '../src/lib/clock.ts';
import type * as SolanaChain from '../src/local/solana-chain.ts';
import type * as Services from '../src/services/services.ts';

/**
 * The gateway as it is shipped, from `dist`: the loader that runs the benchmarks wraps each function to keep its name, and
 * what that costs is no part of the product.
 */
async function load<T>(file: string): Promise<T> {
  return (await import(new URL(`../dist/${file}.js`, import.meta.url).href)) as T;
}

export const { createSignIn } = await load<typeof SignIn>('accounts/sign-in');
export const { buildApp } = await load<typeof App>('app');
export const { loadConfig } = await load<typeof Config>('config/config');
export const { createPool } = await load<typeof Pool>('db/pool');
export const { createLog } = await load<typeof Log>('http/log');
export const { systemClock } = await load<typeof Clock>('lib/clock');
export const { startLocalSolana } = await load<typeof SolanaChain>('local/solana-chain');
export const { createServices } = await load<typeof Services>('services/services');
