import { FACILITATOR_FAULTS, type FacilitatorFault, NEVER_SENT } from './facilitator-faults.ts';
import type { PaymentNetwork } from './own-chains.ts';

/** One payment of a run: its chain, what its remote facilitator does with it, and who pays the fee on Solana. */
export interface Cell {
  network: PaymentNetwork;
  fault: FacilitatorFault;
  feePayer: 'stub' | 'own';
  /** After a reorganisation its facilitator does not send it any more. */
  isGivenUp?: true;
}

/** Its money never moves, or not again once a reorganisation has undone that. */
export const staysUnpaid = ({ fault, isGivenUp }: Cell): boolean =>
  isGivenUp === true || NEVER_SENT.includes(fault);

/** `twin` is a second remote one that serves Solana only and signs with the first one's key. */
export type Member = 'stub' | 'embedded' | 'twin';

/** A gateway's facilitators, and the payments that it is given at once. */
export interface Deployment {
  name: string;
  members: readonly Member[];
  cells: readonly Cell[];
}

const NETWORKS: readonly PaymentNetwork[] = ['evm', 'svm'];

const cellsOf = (faults: readonly FacilitatorFault[], feePayer: Cell['feePayer'] = 'stub'): Cell[] =>
  faults.flatMap(fault => NETWORKS.map(network => ({ network, fault, feePayer })));

// One that stops to listen does so for everybody, so that it has runs of its own.
const DOWN = cellsOf(['down-after-verify']);
const OTHERS = cellsOf(FACILITATOR_FAULTS.filter(fault => fault !== 'down-after-verify'));
const LIST: readonly Member[] = ['stub', 'embedded', 'twin'];

export const REMOTE: Deployment = { name: 'a remote facilitator', members: ['stub'], cells: OTHERS };
export const REMOTE_DOWN: Deployment = { ...REMOTE, name: 'a remote facilitator that is down', cells: DOWN };
export const EMBEDDED: Deployment = {
  name: 'the embedded facilitator',
  members: ['embedded'],
  cells: cellsOf(['honest', 'honest', 'honest'], 'own'),
};
export const LISTED: Deployment = {
  name: 'a list of facilitators',
  members: LIST,
  cells: [...OTHERS, { network: 'svm', fault: 'honest', feePayer: 'own' }],
};
export const LISTED_DOWN: Deployment = { name: 'a list whose first one is down', members: LIST, cells: DOWN };

export const ALL: readonly Deployment[] = [REMOTE, REMOTE_DOWN, EMBEDDED, LISTED, LISTED_DOWN];

/**
 * For payments that a reorganisation undoes after they were credited. On Base only: the local Solana has no forks, so that
 * nothing that it has executed can be undone. There a node that knows nothing of a transaction any more stands for one
 * (test/solana/outages.test.ts), without a kill.
 */
const HONEST: Cell = { network: 'evm', fault: 'honest', feePayer: 'stub' };
export const UNDONE_REMOTE: Deployment = {
  name: 'a remote facilitator',
  members: ['stub'],
  cells: [HONEST, HONEST, { ...HONEST, isGivenUp: true }, { ...HONEST, isGivenUp: true }],
};
export const UNDONE_EMBEDDED: Deployment = {
  name: 'the embedded facilitator',
  members: ['embedded'],
  cells: [HONEST, HONEST, HONEST, HONEST],
};

/** For payments that end without money, because their facilitator sends nothing. The embedded one always sends. */
export const UNPAID_REMOTE: Deployment = {
  name: 'a remote facilitator',
  members: ['stub'],
  cells: cellsOf(NEVER_SENT),
};
export const UNPAID_LISTED: Deployment = {
  name: 'a list of facilitators',
  members: LIST,
  // One that refuses is followed by one that sends.
  cells: cellsOf(NEVER_SENT.filter(fault => fault !== 'refuses')),
};
