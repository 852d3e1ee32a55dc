export { openKeyValue, type PostgresKeyValueOptions } from './key-value.ts';
