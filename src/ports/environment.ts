/** Live money is real, test money is not; a constraint in the database keeps them from ever meeting. */
export type Environment = 'live' | 'test';
