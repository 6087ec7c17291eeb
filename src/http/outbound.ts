import { isIP, type LookupFunction } from 'node:net';
import { Agent, errors, request as send } from 'undici';
import { DeadlineError, withDeadline } from '../lib/deadline.ts';
import { isStorableText } from '../lib/storable-text.ts';
import {
  type Address,
  createNameResolver,
  type ResolveName,
  resolveBySystem,
  shareLookups,
} from './names.ts';
import { isLoopbackAddress, isPublicAddress } from './outbound-address.ts';

type Refusal =
  | 'malformed'
  | 'not_https'
  | 'credentials'
  | 'fragment'
  | 'too_long'
  | 'forbidden_address'
  | 'unresolvable';

export interface OutboundOptions {
  /** For development: this machine may be called, also without TLS. */
  allowLoopback: boolean;
  /** For URLs of the operator's own: any address may be called, also without TLS. */
  allowPrivate?: boolean;
  /** Otherwise the name servers are asked; where this machine itself may be called, the system's resolver. */
  resolve?: ResolveName;
  connectTimeoutMs?: number;
}

const MAX_URL_LENGTH = 2_048;
const RESOLVE_TIMEOUT_MS = 5_000;
const CONNECT_TIMEOUT_MS = 5_000;
const MAX_ANSWER_BYTES = 65_536;

const MESSAGES: Readonly<Record<Refusal, string>> = {
  malformed: 'the URL is not a URL',
  not_https: 'the URL must use https',
  credentials: 'the URL must not hold a user name or password',
  fragment: 'the URL must not have a fragment',
  too_long: `the URL must not be longer than ${MAX_URL_LENGTH} characters`,
  forbidden_address: 'the host must not be an address of a private, local or reserved network',
  unresolvable: 'the host name has no address',
};

class ForbiddenAddressError extends Error {}

/**
 * Calls URLs that customers registered. A name is resolved once for each connection, every address it has is
 * checked, and the connection goes to the address that was checked: a name that changes its address in
 * between cannot lead us into our own network. Kept connections stay where they were opened.
 */
export function createOutbound(options: OutboundOptions) {
  const { allowLoopback, allowPrivate = false, connectTimeoutMs = CONNECT_TIMEOUT_MS } = options;
  const resolve = shareLookups(options.resolve ?? defaultResolver(allowLoopback || allowPrivate));
  const isAllowed = (address: string) =>
    allowPrivate || isPublicAddress(address) || (allowLoopback && isLoopbackAddress(address));

  async function allowedAddresses(hostname: string): Promise<Address[]> {
    const found = await withDeadline('name resolution', RESOLVE_TIMEOUT_MS, resolve(hostname));
    // One forbidden address is enough: a name that has both was made to be resolved until it fits.
    if (found.some(({ address }) => !isAllowed(address))) throw new ForbiddenAddressError();
    return found;
  }

  const lookup: LookupFunction = (hostname, { all }, done) => {
    allowedAddresses(hostname).then(
      ([first, ...rest]) => {
        if (!first) done(new Error('the name has no address'), '', 0);
        else if (all) done(null, [first, ...rest]);
        else done(null, first.address, first.family);
      },
      (error: unknown) => done(error as NodeJS.ErrnoException, '', 0),
    );
  };

  // No limit of connections for each host: many customers' URLs share one, and those that hang would hold up the
  // others there. The caller bounds how many calls are under way.
  const agent = new Agent({
    connect: { lookup, timeout: connectTimeoutMs },
    maxResponseSize: MAX_ANSWER_BYTES,
  });

  function checkForm(text: string): Refusal | undefined {
    if (text.length > MAX_URL_LENGTH) return 'too_long';
    if (!isStorableText(text) || !URL.canParse(text)) return 'malformed';
    const url = new URL(text);
    if (url.username || url.password) return 'credentials';
    if (text.includes('#')) return 'fragment';
    if (url.protocol !== 'https:' && !((allowLoopback || allowPrivate) && url.protocol === 'http:'))
      return 'not_https';
    return undefined;
  }

  async function refusalOf(text: string): Promise<Refusal | undefined> {
    const refused = checkForm(text);
    if (refused) return refused;
    const { hostname, protocol } = new URL(text);
    try {
      const addresses = await hostAddresses(hostname, allowedAddresses);
      if (addresses.length === 0) return 'unresolvable';
      const isLocal = addresses.every(({ address }) => isLoopbackAddress(address));
      if (!addresses.every(({ address }) => isAllowed(address))) return 'forbidden_address';
      return protocol === 'http:' && !isLocal && !allowPrivate ? 'not_https' : undefined;
    } catch (error) {
      return error instanceof ForbiddenAddressError ? 'forbidden_address' : 'unresolvable';
    }
  }

  return {
    async check(url: string) {
      const reason = await refusalOf(url);
      return reason && { reason, message: MESSAGES[reason] };
    },

    async post({ url, headers, body, timeoutMs }: Post): Promise<Answer> {
      // A host that is an address is connected to without a look-up, so it is checked here.
      const literal = URL.canParse(url) ? literalAddress(new URL(url).hostname) : undefined;
      if (checkForm(url) || (literal !== undefined && !isAllowed(literal))) {
        return { kind: 'failed', error: 'forbidden_address' };
      }
      const signal = AbortSignal.timeout(timeoutMs);
      try {
        const answer = await send(url, { method: 'POST', headers, body, signal, dispatcher: agent });
        // The status is the answer. What follows may be too long or never end, and then it is not read.
        const text = await answer.body.text().catch(() => '');
        return { kind: 'answered', status: answer.statusCode, body: text };
      } catch (error) {
        return { kind: 'failed', error: signal.aborted ? 'timeout' : causeOf(error) };
      }
    },

    close: () => agent.destroy(),
  };
}

interface Post {
  url: string;
  headers: Record<string, string>;
  body: string;
  timeoutMs: number;
}

type Answer =
  | { kind: 'answered'; status: number; body: string }
  | { kind: 'failed'; error: 'timeout' | 'forbidden_address' | 'connection' };

function causeOf(error: unknown): 'timeout' | 'forbidden_address' | 'connection' {
  if (error instanceof ForbiddenAddressError) return 'forbidden_address';
  // A host that takes no connection, or whose name nobody answers for, is as silent as one that does not answer.
  const isSilent = error instanceof errors.ConnectTimeoutError || error instanceof DeadlineError;
  return isSilent ? 'timeout' : 'connection';
}

/** Names of the hosts file lead into this machine and its network, so only there it counts. */
function defaultResolver(isNear: boolean): ResolveName {
  return isNear ? resolveBySystem : createNameResolver({ timeoutMs: RESOLVE_TIMEOUT_MS });
}

/** The address that a URL's host is, without the brackets of IPv6; undefined for a name. */
function literalAddress(hostname: string): string | undefined {
  const bare = hostname.replace(/^\[(.*)\]$/, '$1');
  return isIP(bare) === 0 ? undefined : bare;
}

async function hostAddresses(hostname: string, resolve: ResolveName): Promise<Address[]> {
  const literal = literalAddress(hostname);
  return literal === undefined ? resolve(hostname) : [{ address: literal, family: isIP(literal) }];
}
