import { defineConfig, type ViteUserConfig } from 'vitest/config';

// Imports of `tallystick/...` resolve to the sources, as they do for Node with the same condition. Vitest hands these conditions to Node
// too: with `import` among them, a `require` inside of a package would get a module of the wrong kind.
const conditions = ['tallystick-source', 'node'];

const config: ViteUserConfig = defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    include: [
      'src/**/*.test.ts',
      'test/**/*.test.ts',
      'examples/**/*.test.ts',
      'servers/**/*.test.ts',
    ],
    globalSetup: 'test/support/global-servers.ts',
    // Only the servers that all tests share say that they have come up.
    env: { TALLY_SERVERS_QUIET: '1' },
    pool: 'forks',
    maxWorkers: 2,
    // Of the tests of one file that say that they may run beside each other: those of processes, which wait much.
    maxConcurrency: 4,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    execArgv: ['--disable-warning=ExperimentalWarning', '--conditions=tallystick-source'],
  },
});

export default config;
