/** Of the tables below; higher where they change. */
export const LOG_SCHEMA_VERSION = 1;

/*
 * A lane has one row that says where its log begins and ends and who may append: every append updates it, which is
 * the fence and the order in one. Records stand in rows of many (\`log_segment\`), one or a few for each flush: a row
 * a record would cost the server more than the record. They are as encoded by us and not worth compressing again.
 *
 * \`turn\` counts the appenders that were opened: two of one worker epoch are told apart by it.
 */
export function logSchema(schema: string): string {
  return `
CREATE TABLE IF NOT EXISTS ${schema}.log_lane (
  lane text COLLATE "C" PRIMARY KEY,
  worker_epoch bigint NOT NULL,
  turn bigint NOT NULL DEFAULT 1,
  first bigint NOT NULL DEFAULT 0,
  next bigint NOT NULL DEFAULT 0,
  bytes bigint NOT NULL DEFAULT 0,
  last_record bytea,
  last_commit bytea
) WITH (fillfactor = 20);
ALTER TABLE ${schema}.log_lane ALTER COLUMN last_commit SET STORAGE EXTERNAL;
CREATE TABLE IF NOT EXISTS ${schema}.log_segment (
  lane text COLLATE "C" NOT NULL,
  first bigint NOT NULL,
  next bigint NOT NULL,
  bytes integer NOT NULL,
  records bytea NOT NULL,
  PRIMARY KEY (lane, first)
);
ALTER TABLE ${schema}.log_segment ALTER COLUMN records SET STORAGE EXTERNAL;
`;
}
