export {
  postgresLog,
  type PostgresLogDefinition,
  type PostgresLogOptions,
} from './postgres-log.ts';
