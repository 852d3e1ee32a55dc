export type { MemoryClient, MemoryTable } from './client.ts';
export { memoryEventSupports, type MemoryEvents } from './events.ts';
export { memoryLedger, type MemoryLedger, type MemoryLedgerOptions } from './ledger.ts';
export { memoryLog, type MemoryLog, type MemoryLogOptions } from './log.ts';
export { memory, type MemoryOptions, type MemoryStore } from './memory.ts';
export { createMemoryState, type MemoryHook, type MemoryState, type MemoryUnit } from './state.ts';
export type { MemoryTransaction } from './transaction.ts';
