import { afterAll, beforeAll, expect, it } from 'vitest';
import { unavailable } from '../../src/lib/errors.ts';
import { fundedSolanaWallet, solanaUsdcBalance } from '../support/solana.ts';
import {
  presentPayment,
  type SolanaGateway,
  solanaPaymentHeader,
  startSolanaGateway,
} from '../support/solana-gateway.ts';

let gateway: SolanaGateway;
/** The node takes no transaction. */
let isDropping = true;

beforeAll(async () => {
  gateway = await startSolanaGateway({
    seams: {
      svmClient: client => ({
        ...client,
        send: wire => (isDropping ? Promise.reject(unavailable('the Solana node')) : client.send(wire)),
      }),
      settleWaitMs: 200,
      // Nobody brings an open payment to its end, so nobody but the sender's own round sends it again.
      reconcileEveryMs: 3_600_000,
      maintainSenderEveryMs: 100,
    },
  });
});

afterAll(async () => {
  await gateway.stop();
});

it('a transaction whose first broadcast was lost reaches the chain without a reconciler', async () => {
  const wallet = await fundedSolanaWallet(gateway.chain, 100_000_000n);
  const header = await solanaPaymentHeader(gateway, wallet, 10_000_000n);
  expect((await presentPayment(gateway, header)).statusCode).toBe(504);
  expect(await solanaUsdcBalance(gateway.chain, wallet.address)).toBe(100_000_000n);
  isDropping = false;
  await expect
    .poll(() => solanaUsdcBalance(gateway.chain, wallet.address), { timeout: 15_000 })
    .toBe(90_000_000n);
  // The payment itself was worked on by nobody meanwhile.
  const { rows } = await gateway.sql.query('SELECT state, attempts FROM cell_0.payment');
  expect(rows).toEqual([{ state: 'pending', attempts: 0 }]);
});
