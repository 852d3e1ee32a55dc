export { keyValueAnswers, type Answers, type KeptAnswer } from './answers.ts';
export {
  command,
  type Command,
  type CommandAnswer,
  type CommandContext,
  type CommandDone,
  type InputOf,
  type ResultOf,
} from './command.ts';
export {
  commandBus,
  type CommandBus,
  type CommandBusOptions,
  type CommandCall,
  type Commands,
  type Next,
  type SendOptions,
} from './command-bus.ts';
export { httpStatusOf } from './http-status.ts';
export {
  readModels,
  type Capability,
  type ModelPlace,
  type OpenStores,
  type Query,
  type QueryAnswer,
  type QueryFreshness,
  type ReadableApp,
  type ReadModel,
  type ReadModels,
  type StoreIn,
  type SystemIn,
  type Tried,
  type Way,
} from './read-models.ts';
