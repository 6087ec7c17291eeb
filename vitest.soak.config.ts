import { defineConfig } from 'vitest/config';

/** The long runs: many seeded histories and crash loops. `npm test` holds a small sample of each. */
export default defineConfig({
  test: {
    name: 'soak',
    include: ['test/soak/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    testTimeout: 1_200_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // One after another: each of them loads the machine by itself.
    fileParallelism: false,
  },
});
