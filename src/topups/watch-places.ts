import { withDeadline } from '../lib/deadline.ts';
import type { Chain, Standing, TransferPlace } from '../ports/chain.ts';

const MAX_PARALLEL = 20;
const LOOK_TIMEOUT_MS = 10_000;

/** Whether transfers of one network are still where they were. @throws GatewayError `unavailable`, DeadlineError */
export function readStandings(chain: Chain, places: readonly TransferPlace[]): Promise<Standing[]> {
  return withDeadline('a look at settled payments', LOOK_TIMEOUT_MS, chain.standing(places));
}

/**
 * One look at settled payments of one network: their blocks are compared with the chain, and only a payment whose block is
 * gone is worked on by itself.
 * @param work.follow finds out what became of the transfer; never throws
 */
export async function watchPlaces<T extends { place: TransferPlace }>(
  chain: Chain,
  items: readonly T[],
  work: { markFinal(items: readonly T[]): Promise<void>; follow(item: T): Promise<void> },
): Promise<void> {
  const standings = await readStandings(
    chain,
    items.map(({ place }) => place),
  );
  const allIn = (standing: Standing) => items.filter((_, index) => standings[index] === standing);
  const final = allIn('final');
  if (final.length > 0) await work.markFinal(final);
  const moved = allIn('moved');
  for (let start = 0; start < moved.length; start += MAX_PARALLEL) {
    await Promise.all(moved.slice(start, start + MAX_PARALLEL).map(item => work.follow(item)));
  }
}
