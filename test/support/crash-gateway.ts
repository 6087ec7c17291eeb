/**
 * A gateway in a process of its own that kills itself with SIGKILL at a chosen point of a payment's life,
 * which the environment variable CRASH_AT names. Prints its port when it listens. With CRASH_HOLD=1 it keeps every
 * payment at that point instead, and tells its parent, so that all of them are there when the parent kills it.
 * `startGatewayProcess` runs it and tells it more while it runs.
 */
import type { AddressInfo } from 'node:net';
import { buildApp } from '../../src/app.ts';
import { stopOnSignal } from '../../src/commands/lifecycle.ts';
import { loadConfig } from '../../src/config/config.ts';
import { createLog } from '../../src/http/log.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { sleep } from '../../src/lib/deadline.ts';
import { unavailable } from '../../src/lib/errors.ts';
import { readSvmTransaction } from '../../src/lib/svm-transaction.ts';
import type { Seams } from '../../src/services/seams.ts';
import { createServices } from '../../src/services/services.ts';
import type { GatewayCommand, GatewayReport } from './gateway-process.ts';
import { faultyNodes, type NodeFault } from './node-faults.ts';

const env = (name: string): string => process.env[name] ?? '';

/** Milliseconds of a setting of the tests; nothing where production's own is meant. */
function msOf<K extends keyof Seams>(seam: K, name: string): Partial<Pick<Seams, K>> {
  return env(name) ? ({ [seam]: Number(env(name)) } as Pick<Seams, K>) : {};
}

let crashAt = env('CRASH_AT');
const isHeld = env('CRASH_HOLD') === '1';
let nodeFault: NodeFault = 'none';
let aheadMs = Number(env('AHEAD_MS') || 0);
const clock: Clock = { nowMs: () => Date.now() + aheadMs };

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  // The signal is handled by the kernel before this line can return.
  throw new Error('unreachable');
}

function report(message: GatewayReport): void {
  process.send?.(message);
}

/** @param payment something that holds the payment's key, see `TestPayment` */
async function reach(point: string, payment: string): Promise<void> {
  if (crashAt !== point) return;
  if (!isHeld) die();
  report({ reached: payment });
  await new Promise(() => undefined);
}

/** Who was asked first to settle a payment. */
const firstAsked = new Map<string, string>();

const nodes = faultyNodes(() => nodeFault);
const seams: Seams = {
  allowLoopbackWebhooks: true,
  ...msOf('settleWaitMs', 'SETTLE_WAIT_MS'),
  ...msOf('settleTimeoutMs', 'SETTLE_TIMEOUT_MS'),
  ...msOf('reconcileEveryMs', 'RECONCILE_EVERY_MS'),
  ...msOf('finalityCheckMs', 'FINALITY_CHECK_MS'),
  ...msOf('reorgGraceMs', 'REORG_GRACE_MS'),
  evmClient(plain) {
    const client = nodes.evmClient?.(plain) ?? plain;
    return {
      ...client,
      // The bytes are stored, the node has not seen them.
      async sendRawTransaction(raw) {
        await reach('before-send', raw);
        if (crashAt === 'never-but-slow') await sleep(1_500);
        await client.sendRawTransaction(raw);
        await reach('after-broadcast', raw);
      },
    };
  },
  svmClient(plain) {
    const client = nodes.svmClient?.(plain) ?? plain;
    return {
      ...client,
      async send(wire) {
        const payment = readSvmTransaction(wire)?.messageHash ?? '';
        await reach('before-send', payment);
        await client.send(wire);
        await reach('after-broadcast', payment);
      },
    };
  },
  facilitator: facilitator => ({
    ...facilitator,
    async settle(paymentId, payment) {
      const first = firstAsked.get(paymentId) ?? facilitator.name;
      firstAsked.set(paymentId, first);
      // The payment was handed to the next facilitator, and that one has not heard of it.
      if (first !== facilitator.name) await reach('after-move', payment.identity);
      // The state is committed, nothing is signed.
      await reach('before-sign', payment.identity);
      // A remote facilitator has the payment, its answer is on its way or never comes.
      if (crashAt === 'during-settle' && !isHeld) setTimeout(die, 100);
      const result = await facilitator.settle(paymentId, payment);
      // The money has moved, nothing is credited.
      await reach('after-send', payment.identity);
      return result;
    },
  }),
  chain: chain => ({
    ...chain,
    async proveSettlement(payment, hint) {
      // The answer is that nothing is known, and the payment stays pending until the process ends.
      if (crashAt === 'while-pending') throw unavailable('the node');
      await reach('before-look', payment.identity);
      const proof = await chain.proveSettlement(payment, hint);
      // The transfer is proven, the credit is not booked.
      if (proof.kind === 'transferred') await reach('before-credit', payment.identity);
      return proof;
    },
  }),
};

const config = loadConfig('serve', process.env);
const log = createLog(config.logLevel);
const services = createServices(config, { log, clock, seams });
const topups: typeof services.topups = {
  async topUp(request) {
    const outcome = await services.topups.topUp(request);
    // The credit is booked, its payer has not heard of it.
    if (outcome.kind === 'credited') await reach('after-credit', request.payment.identity);
    return outcome;
  },
};
const app = await buildApp({ config, services: { ...services, topups }, log, clock });

process.on('message', (command: GatewayCommand) => {
  nodeFault = command.nodeFault ?? nodeFault;
  crashAt = command.crashAt ?? crashAt;
  aheadMs = command.aheadMs ?? aheadMs;
  report({ obeyed: true });
});
// Nobody would end it any more.
process.on('disconnect', die);

await services.start();
await app.listen({ host: '127.0.0.1', port: 0 });
const { port } = app.server.address() as AddressInfo;
report({ port });
process.stdout.write(`${JSON.stringify({ port })}\n`);
await stopOnSignal(app, [services.stop], log);
