import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { GatewayError } from '../lib/errors.ts';
import { formatUsd } from '../lib/money.ts';
import type { PaymentStatuses } from '../topups/payment-status.ts';

const PaymentStatusBody = Type.Object(
  {
    paymentId: Type.String({ format: 'uuid' }),
    state: Type.Union(
      ['settling', 'pending', 'credited', 'failed', 'reversed'].map(state => Type.Literal(state)),
      {
        description:
          'credited and failed are proven by the chain; reversed: a reorganisation undid the transfer, the outcome is open',
      },
    ),
    reason: Type.Optional(Type.String({ description: 'why it failed, or what is not known yet' })),
    network: Type.String({ description: 'CAIP-2 id' }),
    amountBaseUnits: Type.String({ description: 'what the payer signed, in the token’s base units' }),
    creditedUsd: Type.Optional(Type.String({ description: 'decimal string of US dollars' })),
    transaction: Type.Optional(Type.String()),
    final: Type.Boolean({ description: 'no reorganisation of the chain can undo the credit any more' }),
    createdAt: Type.String({ format: 'date-time' }),
    updatedAt: Type.String({ format: 'date-time' }),
  },
  { $id: 'PaymentStatus' },
);

const Refusal = Type.Object({ error: Type.String(), message: Type.String() });

/**
 * `GET /payments/{id}`: what became of a payment. The id is random and is only told to who presented the
 * payment; the answer names neither wallet nor account.
 */
export function registerPaymentStatus(app: FastifyInstance, payments: PaymentStatuses): void {
  app.get<{ Params: { id: string } }>(
    '/payments/:id',
    {
      schema: {
        tags: ['payments'],
        operationId: 'getPayment',
        summary: 'What became of a payment',
        params: Type.Object({ id: Type.String({ format: 'uuid' }) }),
        response: { 200: PaymentStatusBody, 400: Refusal, 404: Refusal },
      },
    },
    async (request, reply) => {
      const payment = await payments.find(request.params.id);
      if (!payment) throw new GatewayError('not_found', 'there is no payment with this id');
      const { creditedNanoUsd, reason, transaction } = payment;
      return reply.header('cache-control', 'no-store').send({
        paymentId: payment.paymentId,
        state: payment.state,
        ...(reason === undefined ? {} : { reason }),
        network: payment.network,
        amountBaseUnits: payment.amountBaseUnits.toString(),
        ...(creditedNanoUsd === undefined ? {} : { creditedUsd: formatUsd(creditedNanoUsd) }),
        ...(transaction === undefined ? {} : { transaction }),
        final: payment.final,
        createdAt: payment.createdAt.toISOString(),
        updatedAt: payment.updatedAt.toISOString(),
      });
    },
  );
}
