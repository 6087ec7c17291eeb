import { GatewayError } from '../lib/errors.ts';
import { parseUsd } from '../lib/money.ts';

/**
 * Reads an amount of the operator's.
 * @param least in nano-USD
 * @returns nano-USD
 * @throws GatewayError `malformed_request`
 */
export function readUsd(name: string, text: string, least = 0n): bigint {
  const nanoUsd = parseUsd(text);
  if (nanoUsd === undefined || nanoUsd < least) {
    const range = least > 0n ? ' above 0' : '';
    throw new GatewayError('malformed_request', `${name} must be a decimal string of US dollars${range}`);
  }
  return nanoUsd;
}
