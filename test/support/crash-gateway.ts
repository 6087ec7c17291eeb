/**
 * A gateway in a process of its own that kills itself with SIGKILL at a chosen point of a payment's life,
 * which the environment variable CRASH_AT names. Prints its port when it listens.
 */
import type { AddressInfo } from 'node:net';
import { buildApp } from '../../src/app.ts';
import { stopOnSignal } from '../../src/commands/lifecycle.ts';
import { loadConfig } from '../../src/config/config.ts';
import { createLog } from '../../src/http/log.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { sleep } from '../../src/lib/deadline.ts';
import type { Seams } from '../../src/services/seams.ts';
import { createServices } from '../../src/services/services.ts';

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  // The signal is handled by the kernel before this line can return.
  throw new Error('unreachable');
}

const crashAt = process.env['CRASH_AT'] ?? '';

const seams: Seams = {
  allowLoopbackWebhooks: true,
  evmClient: client => ({
    ...client,
    // The bytes are stored, the node has not seen them.
    async sendRawTransaction(raw) {
      if (crashAt === 'before-send') die();
      if (crashAt === 'never-but-slow') await sleep(1_500);
      await client.sendRawTransaction(raw);
    },
  }),
  svmClient: client => ({
    ...client,
    async send(wire) {
      if (crashAt === 'before-send') die();
      await client.send(wire);
    },
  }),
  facilitator: facilitator => ({
    ...facilitator,
    async settle(paymentId, payment) {
      // The state is committed, nothing is signed.
      if (crashAt === 'before-sign') die();
      // A remote facilitator has the payment, its answer is on its way or never comes.
      if (crashAt === 'during-settle') setTimeout(die, 100);
      const result = await facilitator.settle(paymentId, payment);
      // The money has moved, nothing is credited.
      if (crashAt === 'after-send') die();
      return result;
    },
  }),
  chain: chain => ({
    ...chain,
    async proveSettlement(payment, hint) {
      const proof = await chain.proveSettlement(payment, hint);
      // The transfer is proven, the credit is not booked.
      if (crashAt === 'before-credit' && proof.kind === 'transferred') die();
      return proof;
    },
  }),
};

const config = loadConfig('serve', process.env);
const log = createLog(config.logLevel);
const services = createServices(config, { log, clock: systemClock, seams });
const app = await buildApp({ config, services, log, clock: systemClock });
await services.start();
await app.listen({ host: '127.0.0.1', port: 0 });
process.stdout.write(`${JSON.stringify({ port: (app.server.address() as AddressInfo).port })}\n`);
await stopOnSignal(app, [services.stop], log);
