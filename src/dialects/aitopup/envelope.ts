/** The published codes, and the free zero of three families for what has none. */
export const CODE = {
  done: 1000,
  delivered: 1001,
  pending: 1002,
  malformed: 2000,
  invalidKey: 2001,
  insufficient: 2002,
  platform: 2003,
  email: 2004,
  amount: 2005,
  duplicate: 2006,
  notFound: 3000,
  cancelled: 3001,
  cannotCancel: 3002,
  unknownTransaction: 3003,
  internal: 5000,
  rateLimited: 4001,
  address: 4002,
  webhookFailed: 5001,
  webhookUrl: 5002,
} as const;

export type Code = (typeof CODE)[keyof typeof CODE];

const STATUS: Readonly<Record<Code, number>> = {
  1000: 200,
  1001: 200,
  1002: 200,
  2000: 400,
  2001: 401,
  2002: 402,
  2003: 400,
  2004: 400,
  2005: 400,
  2006: 409,
  3000: 404,
  3001: 200,
  3002: 409,
  3003: 404,
  4001: 429,
  4002: 403,
  5000: 500,
  5001: 502,
  5002: 400,
};

/** The six members of every answer, all of them always there. */
export interface Envelope {
  success: boolean;
  code: Code;
  transaction_id: string | null;
  /** Of the transaction, or `ok` and `error`. */
  status: string;
  /** UTC without fractional seconds. */
  timestamp: string;
  data: Record<string, unknown>;
}

/** An answer before its bytes: the envelope is the same over HTTP and MCP. */
export interface Answer {
  httpStatus: number;
  headers: Record<string, string>;
  envelope: Envelope;
  /** The exact body, where it was answered before. */
  storedBody?: string;
}

export interface AnswerParts {
  transactionId?: string;
  status?: string;
  data?: Record<string, unknown>;
  /** Where one code has several statuses. */
  httpStatus?: number;
  headers?: Record<string, string>;
}

/** Codes of the first family and 3001 are successes. */
function isSuccess(code: Code): boolean {
  return code < 2000 || code === CODE.cancelled;
}

export function isoSeconds(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}

/** @param nowMs time of the answer */
export function answer(code: Code, nowMs: number, parts: AnswerParts = {}): Answer {
  const success = isSuccess(code);
  return {
    httpStatus: parts.httpStatus ?? STATUS[code],
    headers: parts.headers ?? {},
    envelope: {
      success,
      code,
      transaction_id: parts.transactionId ?? null,
      status: parts.status ?? (success ? 'ok' : 'error'),
      timestamp: isoSeconds(new Date(nowMs)),
      data: parts.data ?? {},
    },
  };
}

/** A refusal that ends a request from anywhere in it. */
export class Refusal extends Error {
  constructor(
    readonly code: Code,
    message: string,
    readonly reason: string,
    readonly parts: Omit<AnswerParts, 'data'> & { field?: string; data?: Record<string, unknown> } = {},
  ) {
    super(message);
  }

  toAnswer(nowMs: number): Answer {
    const { field, data, ...parts } = this.parts;
    const texts = { message: this.message, reason: this.reason, ...(field !== undefined && { field }) };
    return answer(this.code, nowMs, { ...parts, data: { ...texts, ...data } });
  }
}
