import { afterEach, expect, test, vi } from 'vitest';
import { armFromEnvironment } from './arm.ts';
import { armPoints, point } from './point.ts';

afterEach(() => {
  armPoints(undefined);
  vi.restoreAllMocks();
});

test('arms nothing when the variable is not set', () => {
  const kill = vi.spyOn(process, 'kill').mockReturnValue(true);
  armFromEnvironment({});
  armFromEnvironment({ TALLY_CRASH: '' });
  point('ledger.before-commit');
  expect(kill).not.toHaveBeenCalled();
});

test('kills at the count-th time the named point is reached, and at no other', () => {
  const kill = vi.spyOn(process, 'kill').mockReturnValue(true);
  armFromEnvironment({ TALLY_CRASH: 'ledger.before-commit:2' });
  point('ledger.before-commit');
  point('ledger.after-commit-before-answer');
  expect(kill).not.toHaveBeenCalled();
  point('ledger.before-commit');
  expect(kill).toHaveBeenCalledExactlyOnceWith(process.pid, 'SIGKILL');
});

test.each(['ledger.befor-commit', 'ledger.before-commit:0', 'ledger.before-commit:1:2', ':', 'x'])(
  'refuses %j, which names no point',
  (wanted) => {
    expect(() => armFromEnvironment({ TALLY_CRASH: wanted })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    );
  },
);
