import type { TallyError } from '../../../core/errors.ts';
import type { Finding } from '../../../ports/diagnose.ts';
import { identifier, literal } from '../database.ts';

/** It is as it should be. */
export function ok(check: string, found: string): Finding {
  return { level: 'ok', check, found };
}

/** It works, with a consequence that `found` names. */
export function warn(check: string, found: string, remedy: string): Finding {
  return { level: 'warn', check, found, remedy };
}

/** It does not work. */
export function fail(check: string, found: string, remedy: string): Finding {
  return { level: 'fail', check, found, remedy };
}

/** An error of ours, taken apart again into what was found and what mends it. */
export function failure(check: string, error: TallyError): Finding {
  const [found = '', mend] = error.message.split(' To mend it: ');
  return {
    level: 'fail',
    check,
    found: found.replace(/\.$/, ''),
    ...(mend === undefined ? {} : { remedy: mend.replace(/\.$/, '') }),
  };
}

/** A setting of the whole server, and what makes it take effect. */
export function setting(name: string, value: string, effect: 'reload' | 'restart'): string {
  const then = effect === 'reload' ? 'SELECT pg_reload_conf();' : 'then restart the server';
  return `ALTER SYSTEM SET ${name} = ${literal(value)}; ${then} (as a superuser; on a managed service in its parameter group)`;
}

/** A size for people: `3.2 GiB`. */
export function sizeText(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? ''}`;
}

/** A duration for people: `2 h 5 min`. */
export function ageText(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return `${Math.round(ms / 1_000)} s`;
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A name for a statement that a person runs: quoted only where it must be. */
export function sqlName(...parts: readonly string[]): string {
  return parts.map((part) => (/^[a-z_][a-z0-9_]*$/.test(part) ? part : identifier(part))).join('.');
}
