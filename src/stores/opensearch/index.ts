export { opensearch, type OpenSearchStore } from './store.ts';
export type { OpenSearchAuth, OpenSearchOptions, OpenSearchTls, Visibility } from './options.ts';
export type { OpenSearchAnswer, OpenSearchClient, OpenSearchRequest } from './client.ts';
export {
  documents,
  type DocumentsTarget,
  type FieldMapping,
  type Targets,
} from './sink/targets.ts';
export { sinkSupports } from './supports.ts';
