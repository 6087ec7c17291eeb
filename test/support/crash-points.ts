import {
  ALL,
  type Cell,
  type Deployment,
  EMBEDDED,
  LISTED,
  LISTED_DOWN,
  REMOTE,
  REMOTE_DOWN,
  UNDONE_EMBEDDED,
  UNDONE_REMOTE,
  UNPAID_LISTED,
  UNPAID_REMOTE,
} from './crash-matrix.ts';
import { FACILITATOR_FAULTS, type FacilitatorFault, NEVER_SENT } from './facilitator-faults.ts';
import type { PaymentNetwork } from './own-chains.ts';

/** Payments that never come to a point, and why. What is not given does not matter. */
export interface Unreachable {
  in: readonly Deployment[];
  faults?: readonly FacilitatorFault[];
  network?: PaymentNetwork;
  feePayer?: Cell['feePayer'];
  isGivenUp?: true;
  why: string;
}

/** When a gateway is killed. */
export interface CrashPoint {
  name: string;
  /** See `crash-gateway.ts`; `after-claim`, `during-settle` and those of reversals and failures are made from outside. */
  at: string;
  /** Every payment is credited, and then a reorganisation undoes all of them. */
  isReversal?: true;
  /** No payment's money moves, and then its time is over. */
  isFailure?: true;
  /** The next process is killed, too: in its reconciler, which finds what the first one has left. */
  again?: string;
  /** A facilitator that is down alone settles nothing, so for what comes after that it comes back. */
  comesBack?: 'first' | 'again';
  deployments: readonly Deployment[];
  /** All other payments of the deployments must have been there. */
  unreachable: readonly Unreachable[];
}

const isListed = (entry: Unreachable, cell: Cell, deployment: Deployment): boolean =>
  entry.in.includes(deployment) &&
  entry.faults?.includes(cell.fault) !== false &&
  (entry.network ?? cell.network) === cell.network &&
  (entry.feePayer ?? cell.feePayer) === cell.feePayer &&
  (entry.isGivenUp ?? cell.isGivenUp) === cell.isGivenUp;

/** Why a payment never comes to a point; undefined when it does. */
export const whyUnreachable = (point: CrashPoint, cell: Cell, deployment: Deployment): string | undefined =>
  point.unreachable.find(entry => isListed(entry, cell, deployment))?.why;

/** With these the first facilitator of a list provably sent nothing, or says so. */
const HANDED_ON: readonly FacilitatorFault[] = ['refuses', 'says-refused-but-sent', 'down-after-verify'];
const KEPT = FACILITATOR_FAULTS.filter(fault => !HANDED_ON.includes(fault));

const NOT_OURS: readonly Unreachable[] = [
  { in: [REMOTE, REMOTE_DOWN], why: 'only the embedded facilitator has a transaction of its own' },
  { in: [LISTED], feePayer: 'stub', faults: KEPT, why: 'it stays with the remote facilitator' },
  {
    in: [LISTED, LISTED_DOWN],
    feePayer: 'stub',
    network: 'svm',
    why: 'the embedded facilitator cannot sign for the fee payer, so that it is handed to the twin',
  },
];
const NEVER_MOVES: readonly Unreachable[] = [
  {
    in: [REMOTE],
    faults: NEVER_SENT,
    why: 'the facilitator never sends it, so that there is nothing to credit',
  },
  {
    in: [LISTED],
    faults: NEVER_SENT.filter(fault => !HANDED_ON.includes(fault)),
    why: 'it stays with a facilitator that never sends it, so that there is nothing to credit',
  },
];

export const CRASH_POINTS: readonly CrashPoint[] = [
  {
    name: 'between the claim and the stored payment',
    at: 'after-claim',
    deployments: ALL,
    unreachable: [],
  },
  { name: 'before it signs', at: 'before-sign', deployments: ALL, unreachable: [] },
  {
    name: 'between signing and sending',
    at: 'before-send',
    deployments: ALL,
    unreachable: NOT_OURS,
  },
  {
    name: 'before the node’s answer',
    at: 'after-broadcast',
    deployments: ALL,
    unreachable: NOT_OURS,
  },
  {
    name: 'while the facilitator has the payment',
    at: 'during-settle',
    deployments: ALL,
    unreachable: [
      { in: [EMBEDDED, LISTED], feePayer: 'own', why: 'no other process has it' },
      { in: [REMOTE_DOWN, LISTED_DOWN], why: 'a facilitator that is down takes no payment' },
    ],
  },
  { name: 'after the facilitator’s answer', at: 'after-send', deployments: ALL, unreachable: [] },
  {
    name: 'between the hand-over and the next facilitator',
    at: 'after-move',
    deployments: ALL,
    unreachable: [
      { in: [REMOTE, REMOTE_DOWN, EMBEDDED], why: 'there is no next facilitator' },
      { in: [LISTED], faults: KEPT, why: 'the first facilitator may have sent it, so that it stays there' },
    ],
  },
  {
    name: 'between the proof and the credit',
    at: 'before-credit',
    comesBack: 'first',
    deployments: ALL,
    unreachable: NEVER_MOVES,
  },
  {
    name: 'between the credit and the answer',
    at: 'after-credit',
    comesBack: 'first',
    deployments: ALL,
    unreachable: NEVER_MOVES,
  },
  { name: 'while it is pending', at: 'while-pending', deployments: ALL, unreachable: [] },
  {
    name: 'while it is confirming',
    at: 'while-confirming',
    comesBack: 'first',
    deployments: ALL,
    unreachable: NEVER_MOVES,
  },
  {
    name: 'between the kept claim and the mark of its facilitator',
    at: 'before-distrust',
    isFailure: true,
    deployments: [UNPAID_REMOTE, UNPAID_LISTED],
    unreachable: [
      {
        in: [UNPAID_REMOTE, UNPAID_LISTED],
        faults: ['unknown-code', 'refuses'],
        why: 'its facilitator claims nothing, so that there is nothing to mark',
      },
    ],
  },
  {
    name: 'between the mark of its facilitator and the failed payment',
    at: 'before-fail',
    isFailure: true,
    deployments: [UNPAID_REMOTE, UNPAID_LISTED],
    unreachable: [],
  },
  {
    name: 'before it signs, and again in the reconciler before the look',
    at: 'before-sign',
    again: 'before-look',
    deployments: ALL,
    unreachable: [],
  },
  {
    name: 'before it signs, and again in the reconciler before it signs',
    at: 'before-sign',
    again: 'before-sign',
    deployments: ALL,
    unreachable: [],
  },
  {
    name: 'before it signs, and again in the reconciler after the facilitator’s answer',
    at: 'before-sign',
    again: 'after-send',
    deployments: ALL,
    unreachable: [],
  },
  {
    name: 'while it is pending, and again in the reconciler before the credit',
    at: 'while-pending',
    again: 'before-credit',
    comesBack: 'again',
    deployments: ALL,
    unreachable: NEVER_MOVES,
  },
  {
    name: 'right before and right after a reversal is booked',
    at: 'while-reversing',
    isReversal: true,
    deployments: [UNDONE_REMOTE, UNDONE_EMBEDDED],
    unreachable: [],
  },
  {
    name: 'while it is reversed, and again in the reconciler before it is credited anew',
    at: 'while-reversed',
    isReversal: true,
    again: 'before-credit',
    deployments: [UNDONE_REMOTE, UNDONE_EMBEDDED],
    unreachable: [{ in: [UNDONE_REMOTE], isGivenUp: true, why: 'its facilitator does not send it any more' }],
  },
];

const isRun = (point: CrashPoint, deployment: Deployment): boolean =>
  deployment.cells.some(cell => whyUnreachable(point, cell, deployment) === undefined);

/** Every run of the matrix, with its two names first. */
export const CRASH_RUNS = CRASH_POINTS.flatMap(point =>
  point.deployments
    .filter(deployment => isRun(point, deployment))
    .map(deployment => [point.name, deployment.name, point, deployment] as const),
);
