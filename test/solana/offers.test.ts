import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import { fundedSolanaWallet, SOLANA_MAINNET, signSolanaPayment } from '../support/solana.ts';
import { presentPayment, solanaOffer, startSolanaGateway } from '../support/solana-gateway.ts';
import { newSvmKey } from '../support/svm-key.ts';

/** A facilitator that says what it supports, and who pays the fee, except for the first times that it is asked. */
async function startListing(feePayer: string, silentTimes = 0) {
  const extra = { feePayer };
  const kinds = [{ x402Version: 2, scheme: 'exact', network: SOLANA_MAINNET, extra }];
  let asked = 0;
  const server = createServer((_, response) => {
    asked += 1;
    if (asked <= silentTimes) response.writeHead(503).end();
    else response.end(JSON.stringify({ kinds, extensions: [], signers: { 'solana:*': [feePayer] } }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    timesAsked: () => asked,
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

describe('an offer on Solana by a remote facilitator', () => {
  it('goes on while it is down, also after a restart, and is not made before it was heard of', async () => {
    const feePayer = newSvmKey().address;
    const facilitator = await startListing(feePayer);
    const settings = { FACILITATORS: facilitator.url, EVM_PRIVATE_KEY: '', SVM_PRIVATE_KEY: '' };
    const gateway = await startSolanaGateway({ settings });
    try {
      await gateway.services.learnFacilitators();
      expect((await solanaOffer(gateway, 1n)).extra['feePayer']).toBe(feePayer);
      await facilitator.stop();
      const restarted = await gateway.replica();
      const offer = await solanaOffer(restarted, 10_000_000n);
      expect(offer.extra['feePayer']).toBe(feePayer);

      // Such an offer can be paid once it is back; until then nothing is stored.
      const wallet = await fundedSolanaWallet(gateway.chain, 100_000_000n);
      const header = encodeBase64Json(await signSolanaPayment(gateway.chain, wallet, offer));
      expect((await presentPayment(restarted, header)).statusCode).toBe(503);
      const { rows } = await gateway.sql.query('SELECT count(*)::int AS n FROM directory.payment_claim');
      expect(rows[0].n).toBe(0);

      await gateway.sql.query('DELETE FROM directory.facilitator');
      const unaware = await gateway.replica();
      await expect(solanaOffer(unaware, 1n)).rejects.toThrow('nothing is offered on Solana');
      await unaware.stop();
      await restarted.stop();
    } finally {
      await gateway.stop();
    }
  });

  it('is made soon after it was silent at first, while nobody else is asked more often', async () => {
    const feePayer = newSvmKey().address;
    const [late, prompt] = await Promise.all([startListing(feePayer, 2), startListing(newSvmKey().address)]);
    const facilitators = `${late.url},${prompt.url}`;
    const settings = { FACILITATORS: facilitators, EVM_PRIVATE_KEY: '', SVM_PRIVATE_KEY: '' };
    const gateway = await startSolanaGateway({ settings });
    try {
      const offered = async () => (await solanaOffer(gateway, 1n)).extra['feePayer'];
      await expect.poll(offered, { timeout: 30_000 }).toBe(feePayer);
      expect([late.timesAsked(), prompt.timesAsked()]).toEqual([3, 1]);
    } finally {
      await gateway.stop();
      await Promise.all([late.stop(), prompt.stop()]);
    }
  });
});
