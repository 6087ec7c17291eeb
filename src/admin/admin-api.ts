import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { KeyAdmin } from '../accounts/key-admin.ts';
import type { OperatorCredits } from '../accounts/operator-credits.ts';
import { GatewayError } from '../lib/errors.ts';
import type { KeyVerification } from '../subscriptions/key-verification.ts';
import type { Vouchers } from '../vouchers/redeem.ts';
import type { Webhooks } from '../webhooks/webhooks.ts';
import { adminCreditRoutes } from './credits.ts';
import { adminKeyOrderRoutes } from './key-orders.ts';
import { adminKeyRoutes } from './keys.ts';
import { adminTopupKeyRoutes, type CreateKey } from './topup-keys.ts';
import { adminVoucherRoutes } from './vouchers.ts';
import { adminWebhookRoutes } from './webhooks.ts';

/** Where every route of the operator's API lies. */
export const ADMIN_PREFIX = '/admin/v1';

export interface AdminOptions {
  /** `ADMIN_API_KEY`: who knows it is the operator. */
  apiKey: string;
  webhooks: Webhooks;
  vouchers: Vouchers;
  keys: KeyVerification;
  keyAdmin: KeyAdmin;
  createFundedKey: CreateKey;
  operatorCredits: OperatorCredits;
}

/**
 * The operator's API: nothing below the prefix is answered, not even that a route does not exist, before
 * `Authorization: Bearer $ADMIN_API_KEY` was checked. Parts add their routes here.
 */
export async function adminApi(app: FastifyInstance, options: AdminOptions): Promise<void> {
  const wanted = digest(options.apiKey);
  app.addHook('onRequest', async request => {
    const [, presented] = /^Bearer ([\x21-\x7e]{1,256})$/i.exec(request.headers.authorization ?? '') ?? [];
    // Digests have one length, so the comparison tells nothing about how much of a guess was right.
    if (presented === undefined || !timingSafeEqual(digest(presented), wanted)) {
      throw new GatewayError('unauthorized', 'this needs the header Authorization: Bearer <ADMIN_API_KEY>');
    }
  });
  app.setNotFoundHandler(request => {
    throw new GatewayError('not_found', `there is no route ${request.method} ${request.url.split('?')[0]}`);
  });
  adminWebhookRoutes(app, options.webhooks);
  adminVoucherRoutes(app, options.vouchers);
  adminKeyRoutes(app, options.keys);
  adminKeyOrderRoutes(app, options.keyAdmin);
  adminTopupKeyRoutes(app, options.createFundedKey);
  adminCreditRoutes(app, options.operatorCredits);
}

function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}
