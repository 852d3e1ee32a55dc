import type { Info } from './info.ts';

/** How a server keeps what it answered, and what it loses when it or its machine dies. */
export interface Persistence {
  /** e.g. `append-only file, appendfsync everysec`. */
  readonly mode: string;
  /** One clause: what can be lost. */
  readonly loses: string;
  /** Whether a crash of the process alone loses everything. */
  readonly isNone: boolean;
}

/** Says in words what INFO and CONFIG say; settings are missing where CONFIG is forbidden. */
export function persistenceOf(info: Info, config: Info): Persistence {
  const save = config.get('save');
  if (info.get('aof_enabled') === '1') {
    const sync = config.get('appendfsync');
    return {
      mode: `append-only file, appendfsync ${sync ?? 'unknown'}`,
      loses: losesWith(sync),
      isNone: false,
    };
  }
  if (save === undefined)
    return {
      mode: 'no append-only file; snapshots unknown, since CONFIG is forbidden',
      loses: 'at least what was written since the last snapshot',
      isNone: false,
    };
  if (save === '') return { mode: 'none', loses: 'everything, whenever it stops', isNone: true };
  return {
    mode: `snapshots, save ${save}`,
    loses: `what was written since the last snapshot: ${info.get('rdb_changes_since_last_save') ?? '?'} changes now`,
    isNone: false,
  };
}

function losesWith(sync: string | undefined): string {
  switch (sync) {
    case 'always':
      return 'nothing that was answered';
    case 'everysec':
      return 'up to 1 s, if the machine dies';
    case 'no':
      return 'what the system had not yet written, about 30 s, if the machine dies';
    default:
      return 'up to 1 s, unless appendfsync is no';
  }
}
