const CALL_TIMEOUT_MS = 15_000;

/** Calls a node and gives its result. @throws when it does not answer, or answers with an error. */
export async function callRpc<T = unknown>(
  rpcUrl: string,
  method: string,
  params: readonly unknown[],
): Promise<T> {
  const response = await fetch(rpcUrl, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
    signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
  });
  const { result, error } = (await response.json()) as { result?: T; error?: { message: string } };
  if (error) throw new Error(`${method}: ${error.message}`);
  return result as T;
}
