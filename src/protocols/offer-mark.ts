/** Extension of a route's description that is set by whoever makes the route's offers; discovery reads it. */
export const OFFER_MARK = 'x-offer';

export interface OfferMark {
  protocol: 'x402' | 'mpp';
}

/**
 * Marks a route whose 402 is an offer.
 * @param ways how many ways to pay there are; without any nothing is offered, and nothing is marked
 */
export function markOffer(protocol: OfferMark['protocol'], ways: number): { [OFFER_MARK]?: OfferMark } {
  return ways > 0 ? { [OFFER_MARK]: { protocol } } : {};
}
