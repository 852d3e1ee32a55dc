import { createRequire } from 'node:module';

// The relay of pg-transactional-outbox with a handler that does nothing: how long until all messages were handled.

const [folder = '', url = '', countText = '0', concurrency = ''] = process.argv.slice(2);
const require = createRequire(`${folder}/package.json`);
const peer = require('pg-transactional-outbox');
const count = Number(countText);
const connection = { connectionString: url };
let handled = 0;
const startedMs = performance.now();
const [shutdown] = peer.initializeReplicationMessageListener(
  {
    outboxOrInbox: 'outbox',
    dbListenerConfig: connection,
    dbHandlerConfig: connection,
    settings: {
      dbSchema: 'public',
      dbTable: 'peer_outbox',
      dbPublication: 'peer_outbox',
      dbReplicationSlot: 'peer_outbox',
      enableMaxAttemptsProtection: true,
      enablePoisonousMessageProtection: true,
    },
  },
  {
    handle: async () => {
      handled += 1;
      if (handled !== count) return;
      process.stdout.write(`${JSON.stringify({ milliseconds: performance.now() - startedMs })}\n`);
      setTimeout(async () => {
        await shutdown();
        process.exit(0);
      }, 100);
    },
  },
  peer.getDisabledLogger(),
  {
    concurrencyStrategy:
      concurrency === 'full'
        ? peer.createReplicationFullConcurrencyController()
        : peer.createReplicationMutexConcurrencyController(),
  },
);
