/** The moment of a claim or a result: the database's own clock unless a test says otherwise. */
export interface At {
  now?: Date | undefined;
}
