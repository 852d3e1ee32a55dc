export { keyValueSupports, openKeyValue, type PostgresKeyValueOptions } from './key-value.ts';
