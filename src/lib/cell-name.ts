/**
 * Name of the schema that holds the ledger and the payments of one group of accounts. A parameter and
 * not a constant, because growth means more cells (docs/scale.md).
 */
export type CellName = string & { readonly __brand: 'CellName' };

const CELL_NAME = /^[a-z][a-z0-9_]{0,30}$/;
/** Schemas that are something else. */
const TAKEN = /^(directory|public|information_schema|pg_.*|citus.*)$/;

/** True for what may name a cell, and be written into SQL as an identifier. */
export function isCellName(name: string): name is CellName {
  return CELL_NAME.test(name) && !TAKEN.test(name);
}

/** Checks a cell name once, so that it can be written into SQL as an identifier. */
export function cellName(name: string): CellName {
  if (!isCellName(name)) throw new Error(`not a cell name: ${name}`);
  return name;
}

export const DEFAULT_CELL = cellName('cell_0');
