import { answerByDefault, type ErrorAnswer } from './errors.ts';

/** Who answers for everything below a path. */
export interface PathOwner {
  /** Without a slash at its end. */
  prefix: string;
  answerError: ErrorAnswer;
}

/**
 * Answers requests whose path cannot be read. They reach no route, and so no error handler of a plugin: whoever owns
 * the beginning of the path answers them in its own form.
 */
export function answerByOwner(owners: readonly PathOwner[]): (...answer: Parameters<ErrorAnswer>) => void {
  return (thrown, request, reply) => {
    const [path = ''] = request.url.split('?', 1);
    const owner = owners.find(({ prefix }) => path === prefix || path.startsWith(`${prefix}/`));
    void (owner?.answerError ?? answerByDefault)(thrown, request, reply);
  };
}
