import { assert, constantFrom, integer, property } from 'fast-check';
import { expect, test } from 'vitest';
import { cron } from './cron.ts';

const last = (text: string, zone: string, at: string): string | undefined => {
  const ms = cron(text, zone, 'cron').last(Date.parse(at));
  return ms === undefined ? undefined : new Date(ms).toISOString();
};

test.each([
  ['* * * * *', 'UTC', '2026-03-05T10:07:59.999Z', '2026-03-05T10:07:00.000Z'],
  ['30 2 * * *', 'UTC', '2026-03-05T02:30:00Z', '2026-03-05T02:30:00.000Z'],
  ['30 2 * * *', 'UTC', '2026-03-05T02:29:59Z', '2026-03-04T02:30:00.000Z'],
  ['*/15 9-17 * * 1-5', 'UTC', '2026-03-07T12:00:00Z', '2026-03-06T17:45:00.000Z'],
  ['0 0 1 * *', 'UTC', '2026-03-05T10:00:00Z', '2026-03-01T00:00:00.000Z'],
  ['0 12 29 2 *', 'UTC', '2027-06-01T00:00:00Z', '2024-02-29T12:00:00.000Z'],
  ['0 12 * * 7', 'UTC', '2026-03-05T10:00:00Z', '2026-03-01T12:00:00.000Z'],
  // Both days are given: either will do.
  ['0 0 13 * 5', 'UTC', '2026-03-12T00:00:00Z', '2026-03-06T00:00:00.000Z'],
  ['0 9 * * *', 'Europe/Berlin', '2026-01-15T12:00:00Z', '2026-01-15T08:00:00.000Z'],
  ['0 9 * * *', 'Europe/Berlin', '2026-07-15T12:00:00Z', '2026-07-15T07:00:00.000Z'],
  ['0 9 * * *', 'Asia/Kolkata', '2026-07-15T12:00:00Z', '2026-07-15T03:30:00.000Z'],
  ['0 0 * * *', 'Pacific/Kiritimati', '2026-07-15T12:00:00Z', '2026-07-15T10:00:00.000Z'],
  // Put forward: half past two does not come on that day.
  ['30 2 * * *', 'Europe/Berlin', '2026-03-29T12:00:00Z', '2026-03-28T01:30:00.000Z'],
  // Put back: it comes once, the first time.
  ['30 2 * * *', 'Europe/Berlin', '2026-10-25T12:00:00Z', '2026-10-25T00:30:00.000Z'],
])('%s in %s, at %s: last at %s', (text, zone, at, moment) => {
  expect(last(text, zone, at)).toBe(moment);
});

test('a moment that never comes has no last time', () => {
  expect(last('0 0 31 2 *', 'UTC', '2026-03-05T00:00:00Z')).toBeUndefined();
});

test.each([
  '',
  '* * * *',
  '60 * * * *',
  '* 24 * * *',
  '5-1 * * * *',
  '*/0 * * * *',
  'a * * * *',
  '@daily',
])('refuses %j', (text) => {
  expect(() => cron(text, 'UTC', 'nightly.cron')).toThrow(
    expect.objectContaining({ code: 'CONFIG_INVALID' }) as Error,
  );
});

test('refuses a time zone that is not known', () => {
  expect(() => cron('* * * * *', 'Mars/Olympus', 'nightly.cron')).toThrow(/Mars/);
});

test('whatever the zone and the time, the last moment is one that the clocks show, and none lies after it', () => {
  assert(
    property(
      constantFrom(
        'UTC',
        'Europe/Berlin',
        'America/New_York',
        'Australia/Lord_Howe',
        'Asia/Kathmandu',
      ),
      integer({ min: 0, max: 23 }),
      integer({ min: 0, max: 59 }),
      integer({ min: 1_600_000_000, max: 2_000_000_000 }),
      (zone, hour, minute, second) => {
        const ms = second * 1_000;
        const at = cron(`${minute} ${hour} * * *`, zone, 'cron').last(ms) ?? Number.NaN;
        const shown = new Intl.DateTimeFormat('en-GB', {
          timeZone: zone,
          hour: '2-digit',
          minute: '2-digit',
        }).format(at);
        expect(shown).toBe(`${String(hour).padStart(2, '0')}:${String(minute).padStart(2, '0')}`);
        expect(at).toBeLessThanOrEqual(ms);
        // Where no hour is missing in between, a day has not more than 25 hours.
        expect(ms - at).toBeLessThan(50 * 3_600_000);
      },
    ),
    { numRuns: 60 },
  );
});
