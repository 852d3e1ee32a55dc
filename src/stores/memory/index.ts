export type { MemoryClient, MemoryTable } from './client.ts';
export { memory, type MemoryOptions, type MemoryStore } from './memory.ts';
export { createMemoryState, type MemoryHook, type MemoryState, type MemoryUnit } from './state.ts';
export type { MemoryTransaction } from './transaction.ts';
