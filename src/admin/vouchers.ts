import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import { GatewayError } from '../lib/errors.ts';
import { formatUsd } from '../lib/money.ts';
import type { Vouchers } from '../vouchers/redeem.ts';

const Redeem = Type.Object(
  { customerId: Type.String({ format: 'uuid', description: 'whose credit it becomes, of any dialect' }) },
  { additionalProperties: false },
);

const Redeemed = Type.Object({
  amountUsd: Type.String({ description: 'decimal string of US dollars' }),
  availableUsd: Type.String({ description: 'what the customer has now' }),
  customerId: Type.String(),
  environment: Type.Union([Type.Literal('live'), Type.Literal('test')]),
});

const Refusal = Type.Object({
  error: Type.String(),
  message: Type.String(),
  details: Type.Optional(Type.Object({}, { additionalProperties: true })),
});

/** `POST /admin/v1/vouchers/{code}/redeem`. */
export function adminVoucherRoutes(app: FastifyInstance, vouchers: Vouchers): void {
  app.post<{ Params: { code: string }; Body: Static<typeof Redeem> }>(
    '/vouchers/:code/redeem',
    {
      schema: {
        tags: ['operator'],
        security: [{ bearer: [] }],
        operationId: 'redeemVoucher',
        summary: 'Turn a voucher into credit of a customer, once',
        params: Type.Object({ code: Type.String({ maxLength: 64, examples: ['ATU-8KQ2-V6ND-3RTM'] }) }),
        body: Redeem,
        response: { 200: Redeemed, 400: Refusal, 401: Refusal, 404: Refusal, 409: Refusal },
      },
    },
    async request => {
      const { customerId } = request.body;
      const result = await vouchers.redeem(request.params.code, customerId);
      switch (result.kind) {
        case 'redeemed':
          return {
            amountUsd: formatUsd(result.amountNanoUsd),
            availableUsd: formatUsd(result.availableNanoUsd),
            customerId,
            environment: result.environment,
          };
        case 'already_redeemed':
          throw new GatewayError('conflict', 'the voucher was redeemed before', {
            details: { redeemedAt: result.redeemedAt.toISOString(), customerId: result.customerId },
          });
        case 'wrong_environment':
          throw new GatewayError('conflict', 'the voucher and the customer are of different environments');
        case 'recipient':
          throw new GatewayError('conflict', 'this is a recipient’s wallet, and nobody can spend from it');
        case 'delivered_outside':
          throw new GatewayError('conflict', 'this was delivered by DELIVERY_URL; its code is a receipt');
        case 'unknown_customer':
          throw new GatewayError('not_found', 'there is no such customer');
        default:
          throw new GatewayError('not_found', 'there is no such voucher');
      }
    },
  );
}
