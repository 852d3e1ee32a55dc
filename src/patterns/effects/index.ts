export {
  columnAddition,
  entryAddition,
  redisAddition,
  type Addition,
  type Bounds,
  type ColumnAddition,
  type ColumnWork,
  type LuaWork,
} from './addition.ts';
export { ifEntryUnchanged, ifRowUnchanged, type RereadWork, type RowUnchanged } from './reread.ts';
export type { PostgresLike, SqliteLike, SqlValue } from './sql.ts';
export {
  entryEffects,
  type EntryChange,
  type EntryEffects,
  type EntryEffectsOptions,
  type EntryUndo,
  type EntryWork,
} from './entry-effects.ts';
export {
  objectEffects,
  type ObjectEffects,
  type ObjectEffectsOptions,
  type ObjectWork,
} from './object-effects.ts';
export {
  probed,
  resultOf,
  settled,
  type DoOptions,
  type DoOutcome,
  type EffectKey,
  type Effects,
  type EffectsSupports,
  type EffectState,
  type HeldLock,
  type LockRequest,
  type UndoOutcome,
} from '../../ports/effects.ts';
export {
  versionFile,
  type RecordOutcome,
  type VersionFile,
  type VersionFileOptions,
} from './version-file.ts';
