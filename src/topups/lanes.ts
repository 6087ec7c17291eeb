/** Work in progress, grouped by what it waits for, so that a slow part of the world holds up itself alone. */
export interface Lanes {
  /** Lanes that should be given nothing more at present. */
  full(): string[];
  /** @param work never throws */
  start(lane: string, work: () => Promise<void>): Promise<void>;
  /** Waits for everything that was started. */
  drained(): Promise<void>;
}

/** @param limit from so many on a lane is full; what is taken on at once may go beyond it once */
export function createLanes(limit: number): Lanes {
  const running = new Map<string, Set<Promise<void>>>();

  return {
    full: () => [...running].filter(([, works]) => works.size >= limit).map(([lane]) => lane),
    start(lane, work) {
      const works = running.get(lane) ?? new Set();
      running.set(lane, works);
      const started = work().finally(() => works.delete(started));
      works.add(started);
      return started;
    },
    async drained() {
      await Promise.all([...running.values()].flatMap(works => [...works]));
    },
  };
}

/** The lane of a payment: what it waits for is its facilitator and its network's node. */
export const laneOf = ({ network, facilitator }: { network: string; facilitator: string }): string =>
  `${network} ${facilitator}`;
