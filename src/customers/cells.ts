import type { CellName, Queryable } from '../db/queryable.ts';

/** Lets new customers live in these cells too, because this process looks after them now. */
export async function openCells(db: Queryable, cells: readonly CellName[]): Promise<void> {
  await db.query({
    name: 'directory.open_cells',
    text: 'UPDATE directory.cell SET share = 1 WHERE cell = ANY ($1::text[]) AND share IS NULL',
    values: [cells],
  });
}
