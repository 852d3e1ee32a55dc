import { encodeValue } from '../../../core/codec.ts';
import { TallyError } from '../../../core/errors.ts';
import type { Row, Value } from '../../../core/row.ts';

/** What an object is made of. */
export interface RowContent {
  readonly body: Uint8Array;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * The object that a row becomes. A row with the member `body` (bytes or text) is the object itself:
 * `{ body, contentType?, metadata? }`; any other row becomes its canonical JSON. The content type
 * is kept as the metadata `content-type`. Throws ROW_TOO_LARGE, VALUE_UNSUPPORTED; a row with a
 * `body` and members that an object has no place for is refused, since they would be lost.
 */
export function rowContent(row: Row, rowBytesMax: number): RowContent {
  return Object.hasOwn(row, 'body')
    ? objectContent(row, rowBytesMax)
    : jsonContent(row, rowBytesMax);
}

function jsonContent(row: Row, rowBytesMax: number): RowContent {
  const body = Buffer.from(encodeValue(row), 'utf8');
  checkBytes(body.length, rowBytesMax);
  return { body, metadata: { 'content-type': 'application/json' } };
}

function objectContent(row: Row, rowBytesMax: number): RowContent {
  const { body, contentType, metadata, ...others } = row;
  const [other] = Object.keys(others);
  if (other !== undefined)
    throw unsupported(`a row with a body has the member ${JSON.stringify(other)} as well`, other);
  if (typeof body !== 'string' && !(body instanceof Uint8Array))
    throw unsupported('the body of a row is neither bytes nor text', 'body');
  if (contentType !== undefined && typeof contentType !== 'string')
    throw unsupported('the content type of a row is not a text', 'contentType');
  if (metadata !== undefined && !isTexts(metadata))
    throw unsupported('the metadata of a row is not an object of texts', 'metadata');
  const bytes = typeof body === 'string' ? Buffer.from(body, 'utf8') : body;
  checkBytes(bytes.byteLength, rowBytesMax);
  return {
    body: bytes,
    metadata: {
      ...metadata,
      ...(contentType === undefined ? {} : { 'content-type': contentType }),
    },
  };
}

function isTexts(value: Value): value is Readonly<Record<string, string>> {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Uint8Array) &&
    Object.values(value).every((item) => typeof item === 'string')
  );
}

function checkBytes(bytes: number, rowBytesMax: number): void {
  if (bytes <= rowBytesMax) return;
  throw new TallyError('ROW_TOO_LARGE', {
    what: `a row of ${bytes} bytes is over the limit of ${rowBytesMax}`,
    mend: 'put large content with objects.put and its key in the row, or raise files.rowBytesMax',
    details: { bytes, rowBytesMax },
  });
}

function unsupported(what: string, where: string): TallyError {
  return new TallyError('VALUE_UNSUPPORTED', {
    what,
    where,
    mend: 'project the row to { body, contentType?, metadata? }, or to a row without the member body',
  });
}
