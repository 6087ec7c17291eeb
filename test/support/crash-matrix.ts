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

const REMOTE: Deployment = { name: 'a remote facilitator', members: ['stub'], cells: OTHERS };
const REMOTE_DOWN: Deployment = { ...REMOTE, name: 'a remote facilitator that is down', cells: DOWN };
const EMBEDDED: Deployment = {
  name: 'the embedded facilitator',
  members: ['embedded'],
  cells: cellsOf(['honest', 'honest', 'honest'], 'own'),
};
const LISTED: Deployment = {
  name: 'a list of facilitators',
  members: LIST,
  cells: [...OTHERS, { network: 'svm', fault: 'honest', feePayer: 'own' }],
};
const LISTED_DOWN: Deployment = { name: 'a list whose first one is down', members: LIST, cells: DOWN };

const ALL = [REMOTE, REMOTE_DOWN, EMBEDDED, LISTED, LISTED_DOWN];

/**
 * For payments that a reorganisation undoes after they were credited. On Base only: the local Solana has no forks, so that
 * nothing that it has executed can be undone. There a node that knows nothing of a transaction any more stands for one
 * (test/solana/outages.test.ts), without a kill.
 */
const HONEST: Cell = { network: 'evm', fault: 'honest', feePayer: 'stub' };
const UNDONE_REMOTE: Deployment = {
  name: 'a remote facilitator',
  members: ['stub'],
  cells: [HONEST, HONEST, { ...HONEST, isGivenUp: true }, { ...HONEST, isGivenUp: true }],
};
const UNDONE_EMBEDDED: Deployment = {
  name: 'the embedded facilitator',
  members: ['embedded'],
  cells: [HONEST, HONEST, HONEST, HONEST],
};

/** When a gateway is killed. */
export interface CrashPoint {
  name: string;
  /** See `crash-gateway.ts`; `after-claim`, `during-settle` and those of reversals are made from outside. */
  at: string;
  /** Every payment is credited, and then a reorganisation undoes all of them. */
  isReversal?: true;
  /** The next process is killed, too: in its reconciler, which finds what the first one has left. */
  again?: string;
  deployments: readonly Deployment[];
  /** Which payments must have been at the point for the run to mean anything. */
  reaches(cell: Cell, deployment: Deployment): boolean;
}

/** The money moves, and soon enough for the request that waits for it. */
const movesSoon = ({ fault }: Cell): boolean => ![...NEVER_SENT, 'slow-settle'].includes(fault);
const always = () => true;
const atStub = ({ feePayer }: Cell): boolean => feePayer === 'stub';
/** The first facilitator provably sent nothing, or says so. */
const isHandedOn = ({ fault, feePayer }: Cell): boolean =>
  feePayer === 'stub' && ['refuses', 'says-refused-but-sent', 'down-after-verify'].includes(fault);
/** The embedded one has a transaction of its own. */
const isSentByUs = (cell: Cell, { members }: Deployment): boolean =>
  !members.includes('stub') || cell.feePayer === 'own' || (cell.network === 'evm' && isHandedOn(cell));

export const CRASH_POINTS: readonly CrashPoint[] = [
  {
    name: 'between the claim and the stored payment',
    at: 'after-claim',
    deployments: ALL,
    reaches: always,
  },
  { name: 'before it signs', at: 'before-sign', deployments: ALL, reaches: always },
  {
    name: 'between signing and sending',
    at: 'before-send',
    deployments: [EMBEDDED, LISTED, LISTED_DOWN],
    reaches: isSentByUs,
  },
  {
    name: 'before the node’s answer',
    at: 'after-broadcast',
    deployments: [EMBEDDED, LISTED],
    reaches: isSentByUs,
  },
  {
    name: 'while the facilitator has the payment',
    at: 'during-settle',
    deployments: [REMOTE, LISTED],
    reaches: atStub,
  },
  { name: 'after the facilitator’s answer', at: 'after-send', deployments: ALL, reaches: always },
  {
    name: 'between the hand-over and the next facilitator',
    at: 'after-move',
    deployments: [LISTED, LISTED_DOWN],
    reaches: isHandedOn,
  },
  {
    name: 'between the proof and the credit',
    at: 'before-credit',
    deployments: [REMOTE, EMBEDDED, LISTED, LISTED_DOWN],
    reaches: movesSoon,
  },
  {
    name: 'between the credit and the answer',
    at: 'after-credit',
    deployments: [REMOTE, EMBEDDED, LISTED, LISTED_DOWN],
    reaches: movesSoon,
  },
  { name: 'while it is pending', at: 'while-pending', deployments: ALL, reaches: always },
  {
    name: 'while it is confirming',
    at: 'while-confirming',
    deployments: [REMOTE, EMBEDDED, LISTED],
    reaches: movesSoon,
  },
  {
    name: 'before it signs, and again in the reconciler before the look',
    at: 'before-sign',
    again: 'before-look',
    deployments: [REMOTE, REMOTE_DOWN, EMBEDDED, LISTED],
    reaches: always,
  },
  {
    name: 'before it signs, and again in the reconciler before it signs',
    at: 'before-sign',
    again: 'before-sign',
    deployments: [REMOTE, EMBEDDED, LISTED],
    reaches: always,
  },
  {
    name: 'before it signs, and again in the reconciler after the facilitator’s answer',
    at: 'before-sign',
    again: 'after-send',
    deployments: [REMOTE, REMOTE_DOWN, EMBEDDED, LISTED],
    reaches: always,
  },
  {
    name: 'while it is pending, and again in the reconciler before the credit',
    at: 'while-pending',
    again: 'before-credit',
    deployments: [REMOTE, EMBEDDED, LISTED],
    reaches: always,
  },
  {
    name: 'right before and right after a reversal is booked',
    at: 'while-reversing',
    isReversal: true,
    deployments: [UNDONE_REMOTE, UNDONE_EMBEDDED],
    reaches: always,
  },
  {
    name: 'while it is reversed, and again in the reconciler before it is credited anew',
    at: 'while-reversed',
    isReversal: true,
    again: 'before-credit',
    deployments: [UNDONE_REMOTE, UNDONE_EMBEDDED],
    reaches: always,
  },
];

/** Every run of the matrix, with its two names first. */
export const CRASH_RUNS = CRASH_POINTS.flatMap(point =>
  point.deployments.map(deployment => [point.name, deployment.name, point, deployment] as const),
);
