export { redisLog, type RedisLogDefinition, type RedisLogOptions } from './definition.ts';
export {
  redisStream,
  type OutgoingMessage,
  type RedisStream,
  type RedisStreamDefinition,
  type RedisStreamOptions,
} from './stream.ts';
export type {
  ClaimStaleOptions,
  PendingMessages,
  ReadMessagesOptions,
  StreamGroup,
  StreamMessage,
} from './stream-group.ts';
