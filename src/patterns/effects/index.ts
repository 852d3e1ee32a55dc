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
