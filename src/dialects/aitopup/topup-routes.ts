import type { FastifyInstance } from 'fastify';
import { senderOf } from './authentication.ts';
import { sendAnswer } from './errors.ts';
import type { Operations } from './operations.ts';
import { answers, CancelRequest, describe, SendRequest, ThresholdRequest } from './schemas.ts';

/** Routes of top-ups, the wallet and the history. */
export function topupRoutes(app: FastifyInstance, operations: Operations): void {
  app.post(
    '/topup/send',
    {
      schema: describe('aitopupSend', 'Send credit to somebody', {
        description:
          'Takes the amount from the wallet at once. 1001: delivered; 1002: pending, and a failure is told by webhook and refunded. `Idempotency-Key` makes a repetition harmless.',
        body: SendRequest,
        response: answers('Delivered (1001) or pending (1002)', {
          402: 'Not enough (2002)',
          409: 'Duplicate (2006)',
        }),
      }),
    },
    async (request, reply) => {
      const header = request.headers['idempotency-key'];
      return sendAnswer(reply, await operations.send(senderOf(request), request.body, header));
    },
  );

  app.post(
    '/topup/validate',
    {
      schema: describe('aitopupValidate', 'Check a top-up without sending it', {
        body: SendRequest,
        response: answers('It would be accepted (1000)', {
          402: 'Not enough (2002)',
          409: 'Duplicate (2006)',
        }),
      }),
    },
    async (request, reply) => sendAnswer(reply, await operations.validate(senderOf(request), request.body)),
  );

  app.post(
    '/topup/cancel',
    {
      schema: describe('aitopupCancel', 'Cancel a pending top-up', {
        body: CancelRequest,
        response: answers('Cancelled, now or before (3001)', {
          404: 'No such transaction (3003)',
          409: 'Too late (3002)',
        }),
      }),
    },
    async (request, reply) => sendAnswer(reply, await operations.cancel(senderOf(request), request.body)),
  );

  app.get<{ Params: { transaction_id: string } }>(
    '/topup/status/:transaction_id',
    {
      schema: describe('aitopupStatus', 'What became of a top-up', {
        response: answers('Its state (1001, 1002, 3001 or 1000)', { 404: 'No such transaction (3003)' }),
      }),
    },
    async (request, reply) => {
      const name = { transactionId: request.params.transaction_id };
      return sendAnswer(reply, await operations.status(senderOf(request), name));
    },
  );

  app.get(
    '/topup/balance',
    {
      schema: describe('aitopupBalance', 'The wallet and the cap of the key', {
        response: answers('Balance and cap (1000)', {}),
      }),
    },
    async (request, reply) => sendAnswer(reply, await operations.balance(senderOf(request))),
  );

  app.get<{ Querystring: Record<string, unknown> }>(
    '/topup/history',
    {
      schema: describe('aitopupHistory', 'The newest top-ups', {
        description: 'At most 50, newest first; `limit` and `before` (a transaction’s id) page on.',
        response: answers('Top-ups (1000)', {}),
      }),
    },
    async (request, reply) => sendAnswer(reply, await operations.history(senderOf(request), request.query)),
  );

  app.put(
    '/topup/threshold',
    {
      schema: describe('aitopupThreshold', 'When to be told that the wallet runs low', {
        body: ThresholdRequest,
        response: answers('Set (1000)', {}),
      }),
    },
    async (request, reply) =>
      sendAnswer(reply, await operations.setThreshold(senderOf(request), request.body)),
  );
}
