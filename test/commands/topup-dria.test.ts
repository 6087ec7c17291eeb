import type { AddressInfo } from 'node:net';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LocalEvmChain } from '../../src/local/evm-chain.ts';
import { balanceOf, startDriaGateway, startSepolia } from '../dialects/dria/dria-gateway.ts';
import { mintUsdc, usdcBalance } from '../support/chain.ts';
import type { TestGateway } from '../support/gateway.ts';
import { runTopup as topup } from '../support/topup-cli.ts';

let sepolia: LocalEvmChain;
let gateway: TestGateway;
let order: string[];

beforeAll(async () => {
  sepolia = await startSepolia();
  gateway = await startDriaGateway(sepolia);
  await gateway.app.listen({ host: '127.0.0.1', port: 0 });
  const url = `http://127.0.0.1:${(gateway.app.server.address() as AddressInfo).port}`;
  order = ['--dialect', 'dria', '--amount', '10', '--url', url];
});

afterAll(async () => {
  await gateway?.stop();
  await sepolia?.stop();
});

function createWallet() {
  const privateKey = generatePrivateKey();
  return { privateKey, address: privateKeyToAccount(privateKey).address };
}

async function keysOf(address: string): Promise<number> {
  const { rows } = await gateway.sql.query<{ count: number }>(
    `SELECT count(*)::int FROM directory.api_key k JOIN directory.customer_identity i USING (customer_id)
     WHERE i.value LIKE '%:' || $1`,
    [address.toLowerCase()],
  );
  return rows[0]?.count ?? expect.unreachable();
}

describe('topup-gateway topup at Dria without a key', () => {
  it('signs nothing, not even for a key, unless somebody confirms', async () => {
    const { privateKey, address } = createWallet();
    await mintUsdc(address, 100_000_000n);
    const { code, result, stderr } = await topup(order, { WALLET_PRIVATE_KEY: privateKey });
    expect([code, result]).toEqual([5, { outcome: 'declined' }]);
    expect(stderr).toContain('would sign a text, which moves no money');
    expect(await keysOf(address)).toBe(0);
    expect(await usdcBalance(address)).toBe(100_000_000n);
  });

  it('does not lose the key that it made when there is no offer after all', async () => {
    const { privateKey, address } = createWallet();
    const tooMuch = order.with(order.indexOf('--amount') + 1, '10000.01');
    const { code, result } = await topup([...tooMuch, '--yes'], { WALLET_PRIVATE_KEY: privateKey });
    expect([code, result]).toMatchObject([1, { outcome: 'problem' }]);
    const { apiKey } = result as { apiKey: string };
    expect(await balanceOf(gateway.app, apiKey)).toEqual({ balance: 0, balance_usdc: '0.00' });
    expect(await keysOf(address)).toBe(1);
  });

  it('pays with test money where it is told to', async () => {
    const { privateKey, address } = createWallet();
    await sepolia.mint(address, 100_000_000n);
    const { code, result, stderr } = await topup([...order, '--network', 'base-sepolia', '--yes'], {
      WALLET_PRIVATE_KEY: privateKey,
    });
    expect([code, result]).toMatchObject([
      0,
      {
        outcome: 'paid',
        network: 'Base Sepolia (eip155:84532), test money',
        credited: '1000 credits',
        apiKey: expect.stringMatching(/^dkn_test_/),
      },
    ]);
    expect(stderr).not.toContain(privateKey.slice(2));
    const { apiKey } = result as { apiKey: string };
    expect(await balanceOf(gateway.app, apiKey)).toEqual({ balance: 1000, balance_usdc: '10.00' });
  });
});
