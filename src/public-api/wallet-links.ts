import type { FastifyPluginAsync } from 'fastify';
import { type Static, Type } from 'typebox';
import type { WalletLinks } from '../accounts/wallet-links.ts';
import { createRateLimiters } from '../http/rate-limit.ts';

const Proof = Type.String({ minLength: 1, maxLength: 8_192, description: 'a Sign-In-With-X header value' });

const LinkRequest = Type.Object(
  { proofs: Type.Array(Proof, { minItems: 2, maxItems: 2, description: 'one of each wallet' }) },
  { additionalProperties: false },
);

const LinkResult = Type.Object(
  {
    wallets: Type.Array(
      Type.String({ examples: ['eip155:8453:0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a'] }),
      {
        description: 'all wallets of the customer as CAIP-10 account ids, EVM addresses in lower case',
      },
    ),
  },
  { $id: 'LinkedWallets' },
);

const Refusal = Type.Object({
  error: Type.String(),
  message: Type.String(),
  details: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
});

/** Two calls of one person; proofs are checked with curves, and perhaps with a node. */
const RATE = { max: 10, windowMs: 60_000 };

export interface WalletLinkOptions {
  walletLinks: WalletLinks;
  rateLimits: boolean;
}

/** `POST /wallets/link`: two wallets of one person become one customer. */
export const walletLinkRoutes: FastifyPluginAsync<WalletLinkOptions> = async (app, options) => {
  const limiters = await createRateLimiters(app, options.rateLimits, { tellWhen: true });
  app.post<{ Body: Static<typeof LinkRequest> }>(
    '/wallets/link',
    {
      onRequest: limiters.perAddress(RATE),
      schema: {
        tags: ['wallets'],
        operationId: 'linkWallets',
        summary: 'Link two wallets to one customer',
        description:
          'Afterwards both wallets see and spend the same credit, in every dialect. Each wallet signs a Sign-In-With-X message for this host whose statement is `Link with <CAIP-10 account id of the other wallet>`; a proof that was signed for signing in links nothing. Each proof is good once. Credit is never moved: when both wallets have an account of their own the answer is 409.',
        body: LinkRequest,
        response: {
          200: LinkResult,
          400: Refusal,
          401: Refusal,
          409: Refusal,
          429: Refusal,
          503: Refusal,
        },
      },
    },
    async (request, reply) => {
      const [first = '', second = ''] = request.body.proofs;
      const { wallets } = await options.walletLinks.linkByProofs([first, second]);
      return reply.header('cache-control', 'no-store').send({ wallets });
    },
  );
};
