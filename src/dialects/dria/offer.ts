import { checksumAddress } from 'viem';
import { encodeBase64Json } from '../../lib/base64.ts';
import { nanoToBaseUnits } from '../../lib/money.ts';
import type { PaymentOption } from '../../topups/types.ts';
import { creditsOf } from './wire.ts';

/** A demand for one amount, in both versions of the protocol. */
export interface Offer {
  /** JSON text of the body: version 1, which version 2 clients do not read. */
  body: string;
  /** Value of the PAYMENT-REQUIRED header: version 2, which version 1 clients do not read. */
  header: string;
}

/** Makes the offers of one way to pay. */
export type OfferMaker = (nanoUsd: bigint, error: string) => Offer;

/**
 * Published version 1 clients refuse an entry without an absolute `resource`, a `description` and a
 * `mimeType`, with a null anywhere, or with a CAIP-2 network; and sign under a wrong domain without `extra`.
 */
export function createOfferMaker(option: PaymentOption, resource: string): OfferMaker {
  const { scheme, maxTimeoutSeconds } = option;
  const asset = checksumAddress(option.asset as `0x${string}`);
  const payTo = checksumAddress(option.payTo as `0x${string}`);
  const extra = { name: option.extra['name'], version: option.extra['version'] };
  const mimeType = 'application/json';

  return (nanoUsd, error) => {
    const amount = nanoToBaseUnits(nanoUsd, option.assetDecimals).toString();
    const credits = creditsOf(nanoUsd);
    const description = `${credits} inference ${credits === 1 ? 'credit' : 'credits'}`;
    const terms = { payTo, asset, maxTimeoutSeconds, extra };
    const first = {
      x402Version: 1,
      error,
      accepts: [
        {
          scheme,
          network: option.networkAlias,
          maxAmountRequired: amount,
          resource,
          description,
          mimeType,
          ...terms,
        },
      ],
    };
    const second = {
      x402Version: 2,
      error,
      resource: { url: resource, description, mimeType },
      accepts: [{ scheme, network: option.network, amount, ...terms }],
    };
    return { body: JSON.stringify(first), header: encodeBase64Json(second) };
  };
}
