import type { CellName, Queryable } from '../db/queryable.ts';
import type { Doubt, FacilitatorStore, StoredFacilitator } from '../ports/facilitator-store.ts';

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

async function listDoubtsIn(db: Queryable, cell: CellName): Promise<Doubt[]> {
  const { rows } = await db.query<{ facilitator: string; payment_id: string; doubted_at: Date }>({
    name: `${cell}.list_doubted_facilitators`,
    text: `SELECT DISTINCT ON (facilitator) facilitator, payment_id, doubted_at FROM "${cell}".payment
           WHERE doubted_at IS NOT NULL AND state IN ('settling', 'pending')
           ORDER BY facilitator, doubted_at LIMIT $1`,
    values: [MAX_FACILITATORS],
  });
  return rows.map(row => ({ name: row.facilitator, paymentId: row.payment_id, since: row.doubted_at }));
}

/** Keeps the facilitators in the directory, where every replica sees them; doubts are the payments' own. */
export function createFacilitatorStore(db: Queryable, cells: readonly CellName[]): FacilitatorStore {
  return {
    async listDoubts() {
      const lists = await Promise.all(cells.map(cell => listDoubtsIn(db, cell)));
      return [...new Map(lists.flat().map(doubt => [doubt.name, doubt])).values()];
    },
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
