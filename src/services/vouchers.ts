import type { Pool } from 'pg';
import type { Config } from '../config/config.ts';
import { findAccountOwner } from '../customers/customers.ts';
import type { CellName } from '../db/queryable.ts';
import { createOutbound } from '../http/outbound.ts';
import { assert } from '../lib/assert.ts';
import type { Clock } from '../lib/clock.ts';
import type { Sealer } from '../lib/sealed.ts';
import type { Log } from '../ports/log.ts';
import { createDeliverySimulator } from '../vouchers/providers/simulator.ts';
import { createVoucherProvider } from '../vouchers/providers/voucher.ts';
import { createDeliveryWebhook } from '../vouchers/providers/webhook.ts';
import { createVouchers } from '../vouchers/redeem.ts';
import { createSentTopups } from '../vouchers/sent-topups.ts';
import type { Task } from './background.ts';
import { forgetTask } from './background.ts';

const DELIVER_EVERY_MS = 250;

/** Top-ups for others: who delivers them in each environment, and what brings them to their end. */
export function createVoucherParts(
  config: Config,
  deps: { pool: Pool; cells: readonly CellName[]; sealer: Sealer; clock: Clock; log: Log },
) {
  const { pool, cells, sealer, clock, log } = deps;
  const { deliveryUrl: url, deliverySecret: secret } = config.sentTopups;
  // The operator's own endpoint may stand beside us, where no customer's webhook may lead.
  const outbound = createOutbound({ allowLoopback: true, allowPrivate: true });
  const [voucher, simulator] = [createVoucherProvider(), createDeliverySimulator()];
  const webhook = url ? createDeliveryWebhook({ outbound, url, secret, clock }) : undefined;
  const sentTopups = createSentTopups({
    pool,
    cells,
    sealer,
    current: { live: webhook ?? voucher, test: simulator },
    providers: [voucher, simulator, ...(webhook ? [webhook] : [])],
    async ownerOf(accountId) {
      const owner = await findAccountOwner(pool, accountId);
      assert(owner !== undefined, 'an account has an owner');
      return owner;
    },
    log,
  });
  const tasks: Task[] = [
    ...sentTopups.deliverDue.map(round => ({
      everyMs: DELIVER_EVERY_MS,
      problem: 'pending top-ups could not be looked after',
      round,
    })),
    forgetTask('old answers could not be deleted', () => sentTopups.forgetOldAnswers()),
  ];
  return {
    sentTopups,
    vouchers: createVouchers({ pool, cells }),
    voucherTasks: tasks,
    closeDelivery: () => outbound.close(),
  };
}
