import type { CellName } from '../db/queryable.ts';

export interface CellRouterOptions {
  /** Asks the directory; undefined for an account that does not exist. */
  lookUp: (accountId: bigint) => Promise<CellName | undefined>;
  /** Answers kept; the oldest go first. An account changes its cell only when an operator moves it. */
  maxCached?: number;
}

export interface CellRouter {
  cellOf(accountId: bigint): Promise<CellName | undefined>;
  /** To be called when an account has moved. */
  forget(accountId: bigint): void;
}

/** Remembers which cell an account lives in. Accounts that do not exist are asked for again every time. */
export function createCellRouter({ lookUp, maxCached = 100_000 }: CellRouterOptions): CellRouter {
  const known = new Map<bigint, CellName>();
  return {
    async cellOf(accountId) {
      const cached = known.get(accountId);
      if (cached) return cached;
      const cell = await lookUp(accountId);
      if (!cell) return undefined;
      known.set(accountId, cell);
      if (known.size > maxCached) known.delete(known.keys().next().value ?? accountId);
      return cell;
    },
    forget(accountId) {
      known.delete(accountId);
    },
  };
}

/** The router of an installation with one cell: no look-up at all. */
export function singleCell(cell: CellName): CellRouter {
  return { cellOf: () => Promise.resolve(cell), forget: () => {} };
}
