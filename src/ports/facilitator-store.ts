/** Why a facilitator is not used any more. */
export interface Distrust {
  /** The payment that it said it had settled. */
  paymentId: string;
  /** What the chain proves instead. */
  reason: string;
  since: Date;
}

/** A facilitator that has said that it settled a payment of which the chain shows nothing yet. */
export interface Doubt {
  name: string;
  paymentId: string;
  since: Date;
}

/** What is remembered of one facilitator, shared by all replicas. */
export interface StoredFacilitator {
  name: string;
  /** Its last answer to `/supported`, as it was read. */
  supported: unknown;
  supportedAt: Date | undefined;
  distrust: Distrust | undefined;
}

/** Durable memory of facilitators. */
export interface FacilitatorStore {
  list(): Promise<StoredFacilitator[]>;
  /** At most one for each facilitator. */
  listDoubts(): Promise<Doubt[]>;
  saveSupported(name: string, supported: unknown): Promise<void>;
  /** Marks a facilitator; the first mark stays. @returns false when it was marked before. */
  distrust(name: string, mark: { paymentId: string; reason: string }): Promise<boolean>;
  /** Takes the mark away. @returns false when there was none. */
  trust(name: string): Promise<boolean>;
}
