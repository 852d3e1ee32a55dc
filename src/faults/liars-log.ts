import type { Log, LogAppender, LogRecord } from '../ports/log.ts';
import type { Liar } from './liars-shape.ts';

/** Logs that each break one promise of the port. */
export const logLiars: Readonly<Record<string, Liar<Log>>> = {
  acknowledgesBeforeDurable: {
    lie: 'resolves an append that a restart will not find',
    caughtBy: 'everything appended is there after a restart, with its tail',
    wrap: (log) => {
      // The last append waits here until another one pushes it out: what a cache that was not synced does.
      let waiting: readonly LogRecord[] = [];
      return withAppenders(log, (appender) => ({
        append: async (records) => {
          const { next } = await appender.append(waiting);
          waiting = records;
          return { next: next + records.length };
        },
      }));
    },
  },
  reorders: {
    lie: 'keeps the records of an append in another order',
    caughtBy: 'records come back in order, whole, at dense offsets',
    wrap: (log) =>
      withAppenders(log, (appender) => ({
        append: (records) => appender.append(records.toReversed()),
      })),
  },
  ignoresNewerAppenders: {
    lie: 'lets an appender go on after a newer one was opened',
    caughtBy: 'an appender is fenced out once a newer one was opened',
    wrap: (log) => ({ ...delegate(log), openAppender: () => log.openAppender(1) }),
  },
  forgetsItsTail: {
    lie: 'tells the next appender that the log is empty',
    caughtBy: 'the tail is the last identity and the last commit, for whoever appends next',
    wrap: (log) =>
      withAppenders(log, () => ({ tail: { next: 0, last: undefined, commit: undefined } })),
  },
};

function delegate(log: Log): Log {
  return {
    supports: log.supports,
    openAppender: (workerEpoch) => log.openAppender(workerEpoch),
    read: (options) => log.read(options),
    extent: () => log.extent(),
    release: (before) => log.release(before),
    close: () => log.close(),
    [Symbol.asyncDispose]: () => log.close(),
  };
}

function withAppenders(log: Log, lying: (appender: LogAppender) => Partial<LogAppender>): Log {
  return {
    ...delegate(log),
    openAppender: async (workerEpoch) => {
      const appender = await log.openAppender(workerEpoch);
      return {
        tail: appender.tail,
        append: (records) => appender.append(records),
        close: () => appender.close(),
        [Symbol.asyncDispose]: () => appender.close(),
        ...lying(appender),
      };
    },
  };
}
