/** Of the tables below. */
export const SCHEMA_VERSION = 1;

/**
 * The tables of effects. `effect_horizon` has its one row from the start: a transaction that is not READ COMMITTED can
 * only lock what its snapshot holds.
 */
export function schemaOf(schema: string): string {
  return `
CREATE TABLE IF NOT EXISTS ${schema}.effect (
  id text COLLATE "C" PRIMARY KEY, started_at_ms bigint NOT NULL, state text NOT NULL, result text
) WITH (fillfactor = 80);
CREATE INDEX IF NOT EXISTS effect_age ON ${schema}.effect (started_at_ms);
CREATE TABLE IF NOT EXISTS ${schema}.effect_horizon (
  one boolean PRIMARY KEY DEFAULT true CHECK (one), before_ms bigint NOT NULL
);
INSERT INTO ${schema}.effect_horizon (before_ms) VALUES (0) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS ${schema}.effect_lock (
  resource text COLLATE "C" PRIMARY KEY, owner text NOT NULL, token bigint NOT NULL,
  expires_at_ms bigint NOT NULL, effect text NOT NULL
);
CREATE INDEX IF NOT EXISTS effect_lock_effect ON ${schema}.effect_lock (effect);
CREATE SEQUENCE IF NOT EXISTS ${schema}.effect_lock_token;
`;
}
