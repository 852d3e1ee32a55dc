import type { SinkSupports } from '../../ports/sink.ts';

/** What OpenSearch and Elasticsearch can do as a sink, unless `rowBytesMax` is given. */
export const sinkSupports: SinkSupports = {
  effect: 'fenced',
  // A version is one number of 64 bits, which epoch and offset fill; the ordinal is in the document, and is read on conflict.
  ordinalFence: true,
  // Nothing changes together with a document but that document.
  foldState: false,
  switchOver: true,
  // 1 MiB: documents are parsed whole, and some hundred of them are in memory at once.
  rowBytesMax: 1_048_576,
  // JSON has no word for them. Bytes become base64; the others are refused.
  alteredKinds: ['bytes', 'infinity', 'nan'],
};
