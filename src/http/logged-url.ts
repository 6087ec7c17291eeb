/** Parameters whose value lets somebody act as its owner. */
const SECRET_PARAMETER = /(?<=[?&](?:api_key|token)=)[^&#]+/gi;

/** What is a key by its looks, wherever it stands. */
const API_KEY = /\b(?:mbl|dkn|ak)_(?:live_|test_|staging_)?[A-Za-z0-9]{20,}/g;

/** A request's URL without the keys and tokens that are in it: some dialects put them into the query. */
export function hideKeys(url: string): string {
  return url.replace(SECRET_PARAMETER, '[redacted]').replace(API_KEY, '[redacted]');
}
