import type { Pool } from 'pg';
import type { Config } from '../config/config.ts';
import type { CellName } from '../db/queryable.ts';
import { createOutbound } from '../http/outbound.ts';
import type { Clock } from '../lib/clock.ts';
import { createSealer } from '../lib/sealed.ts';
import type { Log } from '../ports/log.ts';
import type { Outbound } from '../ports/outbound.ts';
import { createDispatcher } from '../webhooks/dispatcher.ts';
import { createWebhooks } from '../webhooks/webhooks.ts';
import type { Seams } from './seams.ts';

/** aitopup's schedule is published: three attempts, waits of 0, 5 and 30 seconds. */
const AITOPUP_RETRY_SECONDS = [0, 5, 30];

/** Events on their way out: who is told, and who tells them. */
export function createWebhookParts(
  config: Config,
  deps: {
    pool: Pool;
    cells: readonly CellName[];
    clock: Clock;
    log: Log;
    seams: Seams;
  },
) {
  const { pool, cells, clock, log, seams } = deps;
  const sealer = createSealer(config.dataEncryptionKeys);
  const allowLoopback = seams.allowLoopbackWebhooks ?? config.webhooks.allowLoopback;
  const real: Outbound = createOutbound({ allowLoopback });
  const outbound = seams.outbound?.(real) ?? real;
  const { webhookNow } = seams;
  const at = webhookNow && { at: () => ({ now: webhookNow() }) };
  const dispatcher = createDispatcher({
    pool,
    cells,
    outbound,
    sealer,
    clock,
    log,
    schedules: { aitopup: AITOPUP_RETRY_SECONDS, operator: config.webhooks.retrySeconds },
    ...at,
  });
  const webhooks = createWebhooks({ db: pool, cells, outbound, sealer, clock, ...at });
  return { webhooks, dispatcher, outbound, sealer };
}
