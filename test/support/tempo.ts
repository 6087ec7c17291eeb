import type { AddressInfo } from 'node:net';
import { Challenge, Credential } from 'mppx';
import { Mppx, tempo } from 'mppx/client';
import {
  createClient,
  encodeFunctionData,
  erc20Abi,
  type Hex,
  http,
  keccak256,
  publicActions,
  stringToHex,
  walletActions,
} from 'viem';
import { generatePrivateKey, type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { tempoModerato } from 'viem/chains';
import { Abis } from 'viem/tempo';
import { type LocalEvmChain, startLocalEvmChain } from '../../src/local/evm-chain.ts';
import { startGateway, type TestGateway, type TestGatewayOptions } from './gateway.ts';
import { expectPublishedShape } from './mobula-schemas.ts';

export const PATH_USD = '0x20c0000000000000000000000000000000000000';
export const TEMPO_TESTNET = 'eip155:42431';

/** The host of the gateway's public origin in tests. */
const REALM = '127.0.0.1';

export type TempoPayer = PrivateKeyAccount & { key: Hex };

/** A gateway that takes money on a local Tempo of its own, besides Base. */
export interface TempoGateway extends TestGateway {
  chain: LocalEvmChain;
  /** Where it listens. */
  origin: string;
  tempoPayTo: Hex;
}

export function startLocalTempo(): Promise<LocalEvmChain> {
  const token = { address: PATH_USD, name: 'PathUSD', version: '1' };
  return startLocalEvmChain({ chainId: 42_431, token, tempo: true, log: () => undefined });
}

export async function startTempoGateway(options: TestGatewayOptions = {}): Promise<TempoGateway> {
  const chain = await startLocalTempo();
  const tempoPayTo = privateKeyToAccount(generatePrivateKey()).address;
  const gateway = await startGateway({
    ...options,
    settings: {
      NETWORKS: `eip155:8453,${TEMPO_TESTNET}`,
      TEMPO_RPC_URL: chain.rpcUrl,
      TEMPO_PAY_TO: tempoPayTo,
      ...options.settings,
    },
  });
  await gateway.app.listen({ host: '127.0.0.1', port: 0 });
  const origin = `http://127.0.0.1:${(gateway.app.server.address() as AddressInfo).port}`;
  return {
    ...gateway,
    chain,
    origin,
    tempoPayTo,
    async stop() {
      await gateway.stop();
      await chain.stop();
    },
  };
}

/** A client that writes Tempo's own transactions, whose gas is paid in the token. */
export function tempoClient({ rpcUrl }: { rpcUrl: string }) {
  return createClient({ chain: tempoModerato, transport: http(rpcUrl), pollingInterval: 20 })
    .extend(publicActions)
    .extend(walletActions);
}

export async function createTempoPayer(chain: LocalEvmChain, usd = 1_000n): Promise<TempoPayer> {
  const key = generatePrivateKey();
  const account = privateKeyToAccount(key);
  if (usd > 0n) await chain.mint(account.address, usd * 1_000_000n);
  return { ...account, key };
}

export const pathUsdBalance = (chain: { rpcUrl: string }, address: Hex) =>
  tempoClient(chain).readContract({
    address: PATH_USD,
    abi: erc20Abi,
    functionName: 'balanceOf',
    args: [address],
  });

/** The published client, which pays what it is asked. */
export function mppxClient(
  chain: { rpcUrl: string },
  account: PrivateKeyAccount,
  mode: 'pull' | 'push' = 'pull',
) {
  return Mppx.create({
    polyfill: false,
    methods: [tempo.charge({ account, mode, getClient: () => tempoClient(chain) as never })],
  });
}

export interface MppAnswer {
  status: number;
  body: Record<string, unknown>;
  receipt: string | null;
  headers: Headers;
}

/** The answer of a route, which the published schema of its operation has to accept. */
async function toAnswer(route: string, response: Response): Promise<MppAnswer> {
  const answer = {
    status: response.status,
    body: (await response.json()) as Record<string, unknown>,
    receipt: response.headers.get('payment-receipt'),
    headers: response.headers,
  };
  expectPublishedShape('mpp', route, answer);
  return answer;
}

/** One call by the published client, which pays the challenge that it is given. */
export async function fetchPaid(
  { origin, chain }: TempoGateway,
  account: PrivateKeyAccount,
  route: string,
  mode: 'pull' | 'push' = 'pull',
): Promise<MppAnswer> {
  return toAnswer(route, await mppxClient(chain, account, mode).fetch(`${origin}/agent/mpp${route}`));
}

export async function challengeOf({ origin }: TempoGateway, route: string): Promise<Challenge.Challenge> {
  const response = await fetch(`${origin}/agent/mpp${route}`);
  if (response.status !== 402) throw new Error(`expected a challenge, got ${response.status}`);
  return Challenge.fromResponse(response);
}

/** A credential for a route, made by the published client and not sent. */
export async function credentialFor(
  { origin, chain }: TempoGateway,
  account: PrivateKeyAccount,
  route: string,
): Promise<string> {
  return mppxClient(chain, account).createCredential(await fetch(`${origin}/agent/mpp${route}`));
}

export async function sendCredential(
  { origin }: TempoGateway,
  route: string,
  credential: string,
): Promise<MppAnswer> {
  const headers = { authorization: credential };
  return toAnswer(route, await fetch(`${origin}/agent/mpp${route}`, { headers }));
}

const digits = (text: string, count: number) => keccak256(stringToHex(text)).slice(2, 2 + count);

/** The memo that binds a transfer to a challenge, of an anonymous client. */
export function memoFor({ id }: { id: string }): Hex {
  return `0xef1ed71201${digits(REALM, 20)}${'0'.repeat(20)}${digits(id, 14)}`;
}

export interface Push {
  payer: PrivateKeyAccount;
  challenge: Challenge.Challenge;
  to: Hex;
  amountBaseUnits: bigint;
}

/** Sends a transfer that is bound to a challenge, as a wallet does that broadcasts itself. @returns its hash */
export async function pushTransfer(
  chain: LocalEvmChain,
  { payer, challenge, to, amountBaseUnits }: Push,
): Promise<Hex> {
  const args = [to, amountBaseUnits, memoFor(challenge)] as const;
  const data = encodeFunctionData({ abi: Abis.tip20, functionName: 'transferWithMemo', args });
  const { hash, status } = await sendTempoTransaction(chain, payer, data);
  if (status !== 'success') throw new Error('the transfer was reverted');
  return hash;
}

/** Calls the token as an account that signs for itself and pays its gas in the token. */
export async function sendTempoTransaction(
  chain: LocalEvmChain,
  account: PrivateKeyAccount,
  data: Hex,
  more: { gas?: bigint } = {},
): Promise<{ hash: Hex; status: string }> {
  const client = tempoClient(chain);
  const validBefore = Math.floor(Date.now() / 1000) + 25;
  const { transactionHash: hash, status } = await client.sendTransactionSync({
    account,
    calls: [{ to: PATH_USD, data }],
    nonceKey: 'expiring',
    validBefore,
    throwOnReceiptRevert: false,
    ...more,
  });
  return { hash, status };
}

/** The credential of a payment that its payer has sent. */
export function pushCredential(challenge: Challenge.Challenge, hash: Hex, source: Hex): string {
  return Credential.serialize({
    challenge,
    payload: { type: 'hash', hash },
    source: `did:pkh:${TEMPO_TESTNET}:${source}`,
  });
}
