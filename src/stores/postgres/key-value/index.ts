export { keyValueSupports, openKeyValue } from './key-value.ts';
