import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import { encodeBase64Json } from '../../src/lib/base64.ts';
import { fundedSolanaWallet, SOLANA_MAINNET, signSolanaPayment } from '../support/solana.ts';
import { presentPayment, solanaOffer, startSolanaGateway } from '../support/solana-gateway.ts';
import { newSvmKey } from '../support/svm-key.ts';

/** A facilitator that says what it supports, and who pays the fee. */
async function startListing(feePayer: string) {
  const extra = { feePayer };
  const kinds = [{ x402Version: 2, scheme: 'exact', network: SOLANA_MAINNET, extra }];
  const server = createServer((_, response) =>
    response.end(JSON.stringify({ kinds, extensions: [], signers: { 'solana:*': [feePayer] } })),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
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
});
