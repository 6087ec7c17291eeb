import type { Queryable } from '../db/queryable.ts';
import type { FacilitatorStore, StoredFacilitator } from '../ports/facilitator-store.ts';

interface FacilitatorRow {
  name: string;
  supported: unknown;
  supported_at: Date | null;
  distrusted_at: Date | null;
  distrust_payment_id: string | null;
  distrust_reason: string | null;
}

/** A deployment names a handful; more rows than this are left from earlier configurations. */
const MAX_FACILITATORS = 1_000;

function toStored(row: FacilitatorRow): StoredFacilitator {
  const { distrusted_at: since, distrust_payment_id: paymentId, distrust_reason: reason } = row;
  const marked = since !== null && paymentId !== null && reason !== null;
  return {
    name: row.name,
    supported: row.supported ?? undefined,
    supportedAt: row.supported_at ?? undefined,
    distrust: marked ? { since, paymentId, reason } : undefined,
  };
}

/** Keeps the facilitators in the directory, where every replica sees them. */
export function createFacilitatorStore(db: Queryable): FacilitatorStore {
  return {
    async list() {
      const { rows } = await db.query<FacilitatorRow>({
        name: 'directory.list_facilitators',
        text: `SELECT name, supported, supported_at, distrusted_at, distrust_payment_id, distrust_reason
               FROM directory.facilitator ORDER BY name LIMIT $1`,
        values: [MAX_FACILITATORS],
      });
      return rows.map(toStored);
    },
    async saveSupported(name, supported) {
      await db.query({
        name: 'directory.save_facilitator_supported',
        text: `INSERT INTO directory.facilitator (name, supported, supported_at) VALUES ($1, $2, now())
               ON CONFLICT ON CONSTRAINT facilitator_pkey
               DO UPDATE SET supported = excluded.supported, supported_at = excluded.supported_at`,
        values: [name, JSON.stringify(supported)],
      });
    },
    async distrust(name, { paymentId, reason }) {
      const { rowCount } = await db.query({
        name: 'directory.distrust_facilitator',
        text: `INSERT INTO directory.facilitator AS f (name, distrusted_at, distrust_payment_id, distrust_reason)
               VALUES ($1, now(), $2, $3)
               ON CONFLICT ON CONSTRAINT facilitator_pkey
               DO UPDATE SET distrusted_at = now(), distrust_payment_id = $2, distrust_reason = $3
               WHERE f.distrusted_at IS NULL`,
        values: [name, paymentId, reason],
      });
      return rowCount === 1;
    },
    async trust(name) {
      const { rowCount } = await db.query({
        name: 'directory.trust_facilitator',
        text: `UPDATE directory.facilitator
               SET distrusted_at = NULL, distrust_payment_id = NULL, distrust_reason = NULL
               WHERE name = $1 AND distrusted_at IS NOT NULL`,
        values: [name],
      });
      return rowCount === 1;
    },
  };
}
