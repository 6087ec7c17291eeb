import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // Most tests wait for blocks and processes, so more of them than there are processors get through sooner.
    maxWorkers: 4,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/architecture.test.ts', 'test/lib/**/*.test.ts', 'test/unit/**/*.test.ts'],
        },
      },
      {
        test: {
          name: 'integration',
          include: ['test/**/*.test.ts'],
          exclude: [
            'test/architecture.test.ts',
            'test/lib/**',
            'test/unit/**',
            'test/soak/**',
            'test/clients/node_modules/**',
          ],
          globalSetup: ['test/support/global-setup.ts'],
          testTimeout: 90_000,
          hookTimeout: 120_000,
          pool: 'forks',
          // One process for many files: loading the program for each anew took a third of the time.
          isolate: false,
          setupFiles: ['test/support/native-fetch.ts'],
        },
      },
    ],
  },
});
