const MAX_ERROR_CHARACTERS = 200;

/** What the node said instead of a result. It never holds the URL, whose path is often a key. */
export class NodeAnswerError extends Error {
  constructor(method: string, what: string) {
    super(`${method}: ${what}`.slice(0, MAX_ERROR_CHARACTERS));
    this.name = 'NodeAnswerError';
  }
}

/** The node has too much to do, or we ask too much: the last thing to do is to ask more. */
export class NodeBusyError extends NodeAnswerError {
  constructor(method: string, status: number) {
    super(method, `HTTP ${status}`);
    this.name = 'NodeBusyError';
  }
}

/** The node answered a request of several calls with something else than an answer to each: it takes no such requests. */
export class NoBatchError extends Error {
  override name = 'NoBatchError';
}

/** Every call of a request was refused: perhaps for their own sake, perhaps because there were several. */
export class AllRefusedError extends Error {
  override name = 'AllRefusedError';
}
