import { isSvmSignature } from '../lib/svm-address.ts';
import type { JsonRpcAnswer } from './json-rpc.ts';

/** What one call takes, on every node. */
const MAX_SIGNATURES = 256;

/** With a second call under way nobody waits long behind a slow one. */
const MAX_UNDER_WAY = 2;

/** Asks what became of signatures: `getSignatureStatuses`, which answers a list in the order of the question. */
export type AskStatuses = (signatures: readonly string[]) => Promise<JsonRpcAnswer>;

interface Question {
  signatures: readonly string[];
  settle(answer: Promise<JsonRpcAnswer>): void;
}

interface StatusesResult {
  context: unknown;
  value: unknown[];
}

/**
 * Lets everybody who asks while calls are under way share the next one: a hundred payments that wait for their block are then
 * two calls at a time and not a hundred, which nodes count. A question goes out in the same turn while there is room, and never joins
 * a call that has been sent already, so no answer is older than its question. A question with what is no signature is asked
 * apart, because the node refuses a call as a whole.
 */
export function joinStatusCalls(ask: AskStatuses): AskStatuses {
  const waiting: Question[] = [];
  let underWay = 0;

  /** As many whole questions as one call takes; at least one. */
  function take(): Question[] {
    let count = 0;
    let total = 0;
    for (const { signatures } of waiting) {
      total += signatures.length;
      if (count > 0 && total > MAX_SIGNATURES) break;
      count += 1;
    }
    return waiting.splice(0, count);
  }

  function next(): void {
    while (underWay < MAX_UNDER_WAY && waiting.length > 0) {
      underWay += 1;
      void answer(take()).finally(() => {
        underWay -= 1;
        setImmediate(next);
      });
    }
  }

  async function answer(questions: readonly Question[]): Promise<void> {
    const whole = ask(questions.flatMap(({ signatures }) => signatures));
    const total = questions.reduce((sum, { signatures }) => sum + signatures.length, 0);
    let start = 0;
    for (const { signatures, settle } of questions) {
      const part = [start, start + signatures.length] as const;
      start += signatures.length;
      settle(whole.then(answered => cut(answered, part, total)));
    }
    await whole.catch(() => undefined);
  }

  return signatures => {
    if (!signatures.every(isSvmSignature)) return ask(signatures);
    return new Promise((resolve, reject) => {
      waiting.push({ signatures, settle: settled => void settled.then(resolve, reject) });
      if (waiting.length === 1) setImmediate(next);
    });
  };
}

/** One question's part of an answer; a list of another length than was asked for tells nobody's. */
function cut(
  { result, error }: JsonRpcAnswer,
  [start, end]: readonly [number, number],
  total: number,
): JsonRpcAnswer {
  if (error) return { error };
  const { context, value } = (result ?? {}) as Partial<StatusesResult>;
  if (!Array.isArray(value) || value.length !== total)
    return { error: { message: 'no list of what was asked' } };
  return { result: { context, value: value.slice(start, end) } };
}
