import { randomBytes, randomInt } from 'node:crypto';
import { generateKeyPairSigner } from '@solana/kit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LocalSolana } from '../../src/local/solana-chain.ts';
import {
  fundedSolanaWallet,
  SOLANA_USDC,
  signSolanaTransaction,
  solanaTokenAccount,
  startTestSolana,
} from '../support/solana.ts';

let chain: LocalSolana;

beforeAll(async () => {
  chain = await startTestSolana();
});

afterAll(() => chain.stop());

interface Reply {
  id: unknown;
  result?: unknown;
  error?: { code: number; message: string; data?: unknown };
}

async function post(body: string): Promise<{ status: number; reply: Reply | Reply[] | undefined }> {
  const response = await fetch(chain.rpcUrl, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  });
  const text = await response.text();
  return { status: response.status, reply: text === '' ? undefined : (JSON.parse(text) as Reply) };
}

async function call(method: string, params?: unknown): Promise<Reply> {
  const { reply } = await post(JSON.stringify({ jsonrpc: '2.0', id: 7, method, params }));
  return reply as Reply;
}

describe("the local Solana's JSON-RPC", () => {
  it.each([
    ['no JSON', '{"jsonrpc":', 200, -32700],
    ['no call', '"hello"', 200, -32600],
    ['null', 'null', 200, -32600],
    ['an empty batch', '[]', 200, -32600],
    ['another version', '{"jsonrpc":"1.0","id":1,"method":"getSlot"}', 200, -32600],
    ['an id that is none', '{"jsonrpc":"2.0","id":{},"method":"getSlot"}', 200, -32600],
    ['a body that is too large', JSON.stringify('x'.repeat(60_000)), 413, -32600],
    ['an unknown method', '{"jsonrpc":"2.0","id":1,"method":"getMoney"}', 200, -32601],
    ['the name of an inherited property', '{"jsonrpc":"2.0","id":1,"method":"toString"}', 200, -32601],
    ['named parameters', '{"jsonrpc":"2.0","id":1,"method":"getSlot","params":{}}', 200, -32602],
  ])('refuses %s', async (_, body, status, code) => {
    expect(await post(body)).toMatchObject({ status, reply: { error: { code } } });
  });

  it('answers only POST, and lets browsers ask first', async () => {
    expect((await fetch(chain.rpcUrl)).status).toBe(405);
    const preflight = await fetch(chain.rpcUrl, { method: 'OPTIONS' });
    expect(preflight.headers.get('access-control-allow-origin')).toBe('*');
  });

  it('answers a batch in order and no notification', async () => {
    const { reply } = await post(
      JSON.stringify([
        { jsonrpc: '2.0', id: 'a', method: 'getHealth' },
        { jsonrpc: '2.0', method: 'getHealth' },
        { jsonrpc: '2.0', id: 2, method: 'nothing' },
      ]),
    );
    expect(reply).toMatchObject([
      { id: 'a', result: 'ok' },
      { id: 2, error: { code: -32601 } },
    ]);
    expect(await post('{"jsonrpc":"2.0","method":"getHealth"}')).toEqual({ status: 200, reply: undefined });
  });

  it.each([
    ['getBalance', []],
    ['getBalance', [7]],
    ['getBalance', ['0OIl']],
    ['getBalance', [SOLANA_USDC, 'confirmed']],
    ['getBalance', [SOLANA_USDC, { commitment: 'certain' }]],
    ['getAccountInfo', [SOLANA_USDC, { encoding: 'hex' }]],
    ['getAccountInfo', [SOLANA_USDC, { encoding: 'base64', dataSlice: { offset: -1, length: 4 } }]],
    ['getMultipleAccounts', ['x']],
    ['getMultipleAccounts', [Array.from({ length: 101 }, () => SOLANA_USDC)]],
    ['getTokenAccountBalance', [SOLANA_USDC]],
    ['getTokenAccountsByOwner', [SOLANA_USDC, {}]],
    ['getSignatureStatuses', [['abc']]],
    ['getSignatureStatuses', [Array.from({ length: 257 }, () => '1'.repeat(64))]],
    ['getSignaturesForAddress', [SOLANA_USDC, { limit: 1_001 }]],
    ['getSignaturesForAddress', [SOLANA_USDC, { commitment: 'processed' }]],
    ['getTransaction', ['1'.repeat(64), { commitment: 'processed' }]],
    ['getTransaction', ['1'.repeat(64), { encoding: 'xml' }]],
    ['getMinimumBalanceForRentExemption', [-1]],
    ['getFeeForMessage', ['AAAA']],
    ['isBlockhashValid', ['abc']],
    ['requestAirdrop', [SOLANA_USDC, -5]],
    ['requestAirdrop', [SOLANA_USDC, 1.5]],
    ['sendTransaction', ['AAAA', { encoding: 'base64' }]],
    ['sendTransaction', ['AAAA', { encoding: 'hex' }]],
    ['sendTransaction', [Buffer.alloc(1_300, 1).toString('base64'), { encoding: 'base64' }]],
    ['sendTransaction', ['2'.repeat(1_683)]],
    ['simulateTransaction', ['', { encoding: 'base64' }]],
    ['local_mint', [SOLANA_USDC, '-1']],
    ['local_mint', [SOLANA_USDC, '99999999999999999999']],
    ['local_advanceSlots', ['many']],
  ])('refuses invalid parameters: %s, case %#', async (method, params) => {
    expect(await call(method, params)).toMatchObject({ id: 7, error: { code: -32602 } });
  });

  it('decodes no base58 that is too long for a transaction', async () => {
    const { error } = await call('sendTransaction', ['2'.repeat(1_684)]);
    expect(error).toEqual({
      code: -32602,
      message: 'base58 encoded transaction too large: 1684 bytes (max: encoded/raw 1683/1232)',
    });
  });

  it('says that it is behind what the caller knows', async () => {
    const newest = (await call('getSlot')).result as number;
    const params = [SOLANA_USDC, { minContextSlot: newest + 1_000_000 }];
    expect((await call('getBalance', params)).error?.code).toBe(-32016);
  });

  it('shows an account in every encoding', async () => {
    const { address } = await generateKeyPairSigner();
    await chain.mint(address, 1_500_000n);
    const account = await solanaTokenAccount(address);
    const dataIn = async (config: object) => {
      const { result } = await call('getAccountInfo', [account, config]);
      return (result as { value: { data: unknown } }).value.data;
    };
    const [base64] = (await dataIn({ encoding: 'base64' })) as [string];
    const bytes = Buffer.from(base64, 'base64');
    expect(bytes.length).toBe(165);
    expect(bytes.readBigUInt64LE(64)).toBe(1_500_000n);
    const amount = { encoding: 'base64', dataSlice: { offset: 64, length: 8 } };
    expect(await dataIn(amount)).toEqual([bytes.subarray(64, 72).toString('base64'), 'base64']);
    expect(await dataIn({ encoding: 'jsonParsed' })).toMatchObject({
      program: 'spl-token',
      parsed: { type: 'account', info: { tokenAmount: { amount: '1500000', uiAmountString: '1.5' } } },
    });
    // 165 bytes are more than this encoding may have.
    expect((await call('getAccountInfo', [account])).error?.code).toBe(-32602);
    expect((await call('getAccountInfo', [address, { encoding: 'base64' }])).result).toMatchObject({
      value: null,
    });
  });

  it('answers what is needed to know a fee', async () => {
    const wallet = await fundedSolanaWallet(chain, 0n);
    const { wire } = await signSolanaTransaction(chain, wallet, []);
    const message = Buffer.from(wire, 'base64').subarray(65).toString('base64');
    expect((await call('getFeeForMessage', [message, { commitment: 'processed' }])).result).toMatchObject({
      value: 5_000,
    });
    expect((await call('getRecentPrioritizationFees')).result).toHaveLength(150);
    expect((await call('getEpochInfo')).result).toMatchObject({ slotsInEpoch: 432_000 });
  });

  it('survives transactions that are damaged in every way', async () => {
    const wallet = await fundedSolanaWallet(chain, 0n);
    const memo = { programAddress: 'MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr' as never };
    const whole = (['legacy', 0] as const).map(async version => {
      const { wire } = await signSolanaTransaction(chain, wallet, [memo, memo], { version });
      return Buffer.from(wire, 'base64');
    });
    const bodies = (await Promise.all(whole)).flatMap(bytes =>
      Array.from({ length: 400 }, () => {
        const damaged = Buffer.from(bytes);
        for (let i = randomInt(1, 4); i > 0; i -= 1) damaged[randomInt(damaged.length)] = randomInt(256);
        return randomInt(4) === 0 ? damaged.subarray(0, randomInt(damaged.length)) : damaged;
      }),
    );
    bodies.push(randomBytes(300), randomBytes(1_232), Buffer.alloc(1_232));
    const config = { encoding: 'base64', skipPreflight: true };
    for (let start = 0; start < bodies.length; start += 20) {
      const batch = bodies.slice(start, start + 20).flatMap((body, id) =>
        ['sendTransaction', 'simulateTransaction'].map(method => {
          return { jsonrpc: '2.0', id, method, params: [body.toString('base64'), config] };
        }),
      );
      const { reply } = await post(JSON.stringify(batch));
      expect((reply as Reply[]).map(one => one.error?.code).filter(code => code === -32603)).toEqual([]);
    }
    expect((await call('getHealth')).result).toBe('ok');
  });
});
