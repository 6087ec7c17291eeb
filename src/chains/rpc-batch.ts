import { shareCalls } from '../lib/shared-calls.ts';
import type { JsonRpcAnswer } from './json-rpc.ts';
import { AllRefusedError, NoBatchError, NodeBusyError } from './rpc-errors.ts';

/** What public nodes take at most in one request. */
const MAX_CALLS = 10;

/** Nodes answer after a network's round trip, for which those who come later need not wait. */
const PATIENCE_MS = 5;
const MAX_SLOW = 20;

/**
 * After a request of several calls that came to nothing each call goes alone for so long, and twice as long after each
 * further one; then a single request tries whether the node takes several.
 */
const FIRST_REST_MS = 60_000;
const MAX_REST_MS = 3_600_000;

/** One HTTP request. */
export interface RpcTransport {
  post(method: string, params: unknown[]): Promise<JsonRpcAnswer>;
  /** Several calls in one request. @throws NoBatchError, AllRefusedError */
  postAll(method: string, all: readonly unknown[][]): Promise<JsonRpcAnswer[]>;
}

/**
 * Lets calls of one method that come together go in one HTTP request (a batch of JSON-RPC 2.0): most of what a call costs a
 * node and us is the request around it. Where the node does not take batches, as some plans of some providers do not,
 * every call has a request of its own.
 */
export function shareRequests({ post, postAll }: RpcTransport): RpcTransport['post'] {
  const byMethod = new Map<string, (params: unknown[]) => Promise<JsonRpcAnswer>>();
  let restMs = 0;
  let restUntilMs = 0;
  let isTrying = false;

  /** While the node is not known to take several calls, one request at a time finds out. */
  const mayShare = () => restMs === 0 || (!isTrying && performance.now() >= restUntilMs);

  async function run(method: string, all: readonly unknown[][]): Promise<JsonRpcAnswer[]> {
    const [first = []] = all;
    if (all.length === 1) return [await post(method, first)];
    if (!mayShare()) throw new NoBatchError();
    isTrying = restMs > 0;
    try {
      const answers = await postAll(method, all);
      restMs = 0;
      return answers;
    } catch (error) {
      if (!(error instanceof NodeBusyError || error instanceof AllRefusedError)) rest();
      throw error;
    } finally {
      isTrying = false;
    }
  }

  function rest(): void {
    // Others that were sent at the same time tell nothing new.
    if (performance.now() < restUntilMs) return;
    restMs = Math.min(MAX_REST_MS, Math.max(FIRST_REST_MS, 2 * restMs));
    restUntilMs = performance.now() + restMs;
  }

  function share(method: string): (params: unknown[]) => Promise<JsonRpcAnswer> {
    const shared = shareCalls<unknown[], JsonRpcAnswer>({
      title: 'the node',
      run: all => run(method, all),
      maxItems: MAX_CALLS,
      patienceMs: PATIENCE_MS,
      maxSlow: MAX_SLOW,
      isRepeatable: error => error instanceof NoBatchError || error instanceof AllRefusedError,
    });
    byMethod.set(method, shared);
    return shared;
  }

  return (method, params) => {
    // Where nothing can be shared nobody waits.
    if (!mayShare()) return post(method, params);
    return (byMethod.get(method) ?? share(method))(params);
  };
}
