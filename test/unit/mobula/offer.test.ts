import Fastify from 'fastify';
import { expect, it } from 'vitest';
import { mobulaDialect } from '../../../src/dialects/mobula/index.ts';
import { setDefaultErrors } from '../../../src/http/errors.ts';
import { compileSchema } from '../../../src/http/validator.ts';
import type { PaymentOption } from '../../../src/topups/types.ts';
import { baseOption, NOW_MS, ORIGIN, SOLANA_FEE_PAYER, solanaOption } from '../venice/venice-app.ts';

const nobody = () => expect.unreachable();

async function askPrice(paymentOptions: PaymentOption[]) {
  const app = Fastify();
  app.setValidatorCompiler(compileSchema);
  setDefaultErrors(app);
  await app.register(mobulaDialect, {
    agents: { prepare: nobody, creditorOf: nobody, results: { status: nobody, key: nobody, topup: nobody } },
    apiTokens: {
      authenticate: nobody,
      create: nobody,
      list: nobody,
      inspect: nobody,
      revoke: nobody,
      use: nobody,
    },
    mpp: undefined,
    topups: { topUp: nobody },
    paymentOptions,
    publicOrigin: ORIGIN,
    rateLimits: false,
    clock: { nowMs: () => NOW_MS },
  });
  return app.inject('/agent/x402/subscription');
}

it('an offer is not empty while Solana is the only way and nobody pays its fee: come back later', async () => {
  const refused = await askPrice([solanaOption(() => undefined)]);
  expect([refused.statusCode, refused.headers['retry-after']]).toEqual([503, '2']);
  expect(refused.json()).toMatchObject({ error: 'unavailable' });

  const offered = await askPrice([solanaOption()]);
  expect(offered.json()).toMatchObject({ accepts: [{ extra: { feePayer: SOLANA_FEE_PAYER } }] });
  const other = await askPrice([baseOption, solanaOption(() => undefined)]);
  expect(other.json<{ accepts: object[] }>().accepts).toHaveLength(1);
});
