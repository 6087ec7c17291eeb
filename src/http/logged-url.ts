/** Parameters whose value lets somebody act as its owner. */
const SECRET_PARAMETER = /(?<=[?&](?:api_key|token)=)[^&#]+/gi;

/** What is a key by its looks, wherever it stands. */
const API_KEY = /\b(?:mbl|dkn|ak)_(?:live_|test_|staging_)?[A-Za-z0-9]{20,}/g;

/** What is money in a URL: the segment that names a voucher, whatever it is, and a code anywhere. */
const VOUCHER_SEGMENT = /(?<=\/vouchers\/)[^/?#]+/gi;
const VOUCHER_CODE = /\bATU(-[0-9A-Z]{1,8}){1,6}/gi;

/** A request's URL without the keys, tokens and vouchers that are in it: some dialects put them there. */
export function hideSecrets(url: string): string {
  return [SECRET_PARAMETER, API_KEY, VOUCHER_SEGMENT, VOUCHER_CODE].reduce(
    (shown, secret) => shown.replace(secret, '[redacted]'),
    url,
  );
}
