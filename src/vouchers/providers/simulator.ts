import type { DeliveryOrder, DeliveryOutcome, DeliveryProvider } from '../../ports/delivery-provider.ts';

interface Script {
  afterMs: number;
  end: DeliveryOutcome;
}

/** What an address asks for by how its local part ends. */
const SCRIPTS: Readonly<Record<string, Script>> = {
  '+pending': { afterMs: 60_000, end: { kind: 'delivered' } },
  '+fail': { afterMs: 2_000, end: { kind: 'failed', reason: 'provider_error' } },
  '+slow': { afterMs: 5_000, end: { kind: 'delivered' } },
};

/** Plays deliveries in the test environment: at once, or as the recipient's address asks. */
export function createDeliverySimulator(): DeliveryProvider {
  return {
    name: 'simulator',
    isOutside: false,
    deliver({ recipientEmail, ageMs }: DeliveryOrder): Promise<DeliveryOutcome> {
      const [localPart = ''] = (recipientEmail ?? '').split('@');
      const trigger = Object.keys(SCRIPTS).find(suffix => localPart.endsWith(suffix));
      const script = trigger === undefined ? undefined : SCRIPTS[trigger];
      if (!script) return Promise.resolve({ kind: 'delivered' });
      const leftMs = script.afterMs - ageMs;
      return Promise.resolve(leftMs > 0 ? { kind: 'pending', retryAfterMs: leftMs } : script.end);
    },
  };
}
