/** As an operator would write it for a service that wants a fresh token for each call. */
export async function createAuthHeaders() {
  const headers = { Authorization: 'Bearer made-for-this-call' };
  return { verify: headers, settle: headers, supported: headers };
}
