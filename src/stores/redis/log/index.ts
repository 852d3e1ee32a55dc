export { redisLog, type RedisLogDefinition, type RedisLogOptions } from './definition.ts';
