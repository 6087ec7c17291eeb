import { Errors } from 'mppx';

/** Why a credential is not taken: an error of MPP, which gives its own problem document. */
export class MppRefusal extends Error {
  constructor(readonly problem: Errors.PaymentError) {
    super(problem.message);
    this.name = 'MppRefusal';
  }
}

export function refused(problem: Errors.PaymentError): MppRefusal {
  return new MppRefusal(problem);
}

export function failed(reason: string): MppRefusal {
  return refused(new Errors.VerificationFailedError({ reason }));
}

/** The problem of a payment that was refused or proved not to have moved money. */
export function problemOf(reason: string, message?: string): Errors.PaymentError {
  if (reason === 'payment-expired' || reason === 'expired') return new Errors.PaymentExpiredError();
  return new Errors.VerificationFailedError({ reason: message ?? reason.replaceAll('_', ' ') });
}
