import { lookup as lookUpName, Resolver } from 'node:dns/promises';
import { DeadlineError } from '../lib/deadline.ts';

export interface Address {
  address: string;
  family: number;
}

/** Finds all addresses of a host name. Rejects where there is none, with DeadlineError when nobody answers in time. */
export type ResolveName = (hostname: string) => Promise<Address[]>;

/** To each name server for one query; c-ares doubles it from round to round. */
const TRY_TIMEOUT_MS = 1_500;
const TRIES = 2;

export interface NameServerOptions {
  timeoutMs: number;
  /** Instead of the system's: `address` or `address:port`. */
  servers?: readonly string[];
}

/**
 * Asks the name servers by itself. The system's resolver waits in one of the few threads that all files and names
 * of the process share: four names of a dead zone would stop every other name, also those of nodes and
 * facilitators. Here a name that nobody answers costs a datagram. Names of the hosts file are not known.
 */
export function createNameResolver({ timeoutMs, servers }: NameServerOptions): ResolveName {
  return async hostname => {
    // A new one each time: it reads the configuration as it is now, and takes its queries along when it ends.
    const resolver = new Resolver({ timeout: TRY_TIMEOUT_MS, tries: TRIES });
    if (servers) resolver.setServers(servers);
    const expiry = setTimeout(() => resolver.cancel(), timeoutMs);
    try {
      const [four, six] = await Promise.allSettled([
        resolver.resolve4(hostname),
        resolver.resolve6(hostname),
      ]);
      const found = [
        ...(four.status === 'fulfilled' ? four.value.map(address => ({ address, family: 4 })) : []),
        ...(six.status === 'fulfilled' ? six.value.map(address => ({ address, family: 6 })) : []),
      ];
      if (found.length > 0) return found;
      const silent = [four, six].some(each => each.status === 'rejected' && isSilence(each.reason));
      throw silent ? new DeadlineError('name resolution', timeoutMs) : new Error('the name has no address');
    } finally {
      clearTimeout(expiry);
    }
  };
}

function isSilence(error: unknown): boolean {
  return ['ETIMEOUT', 'ECANCELLED'].includes((error as NodeJS.ErrnoException).code ?? '');
}

/** As every other program of this machine does it, with its hosts file and its search domains. */
export async function resolveBySystem(hostname: string): Promise<Address[]> {
  return lookUpName(hostname, { all: true, verbatim: true });
}

/** Lets calls for a name that is being looked up wait for the same answer. */
export function shareLookups(resolve: ResolveName): ResolveName {
  const running = new Map<string, Promise<Address[]>>();
  return hostname => {
    const known = running.get(hostname);
    if (known) return known;
    const lookup = resolve(hostname).finally(() => running.delete(hostname));
    running.set(hostname, lookup);
    return lookup;
  };
}
