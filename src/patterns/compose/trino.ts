import {
  checkNumber,
  checkObject,
  checkOneOf,
  checkOptions,
  checkString,
} from '../../core/options.ts';

/** Systems for which a catalogue can be written. */
export type TrinoSystem = 'postgres' | 'mysql' | 'mongodb' | 'clickhouse' | 'elasticsearch';

/** A store as Trino is to reach it. */
export interface TrinoStore {
  readonly system: TrinoSystem;
  /** `db.internal`, with the port if it is not the system's own: `db.internal:5433`. */
  readonly host: string;
  /** The database; of Elasticsearch the default schema. */
  readonly database: string;
}

interface Connector {
  readonly port: number;
  /** The lines after the connector's name. */
  readonly lines: (
    at: { readonly host: string; readonly port: number },
    database: string,
  ) => readonly string[];
}

const CREDENTIALS = ['connection-user', 'connection-password'] as const;

const connectors: Readonly<Record<TrinoSystem, Connector & { readonly name: string }>> = {
  postgres: {
    name: 'postgresql',
    port: 5432,
    lines: ({ host, port }, database) => [
      `connection-url=jdbc:postgresql://${host}:${port}/${database}`,
    ],
  },
  // A schema of Trino is a database of MySQL: the connection names none.
  mysql: {
    name: 'mysql',
    port: 3306,
    lines: ({ host, port }) => [`connection-url=jdbc:mysql://${host}:${port}`],
  },
  clickhouse: {
    name: 'clickhouse',
    port: 8123,
    lines: ({ host, port }, database) => [
      `connection-url=jdbc:clickhouse://${host}:${port}/${database}`,
    ],
  },
  mongodb: { name: 'mongodb', port: 27_017, lines: () => [] },
  elasticsearch: {
    name: 'elasticsearch',
    port: 9200,
    lines: ({ host, port }, database) => [
      `elasticsearch.host=${host}`,
      `elasticsearch.port=${port}`,
      `elasticsearch.default-schema-name=${database}`,
    ],
  },
};

/**
 * The catalogue files of Trino for stores of an application, by path: `etc/catalog/orders.properties`. Users and passwords are
 * not in them: Trino takes them from its environment, as `ORDERS_USER` and `ORDERS_PASSWORD` (of MongoDB the whole URL, as
 * `ORDERS_URL`). They follow https://trino.io/docs/current/connector.html; no Trino was run for them here. Throws
 * CONFIG_UNKNOWN_OPTION and CONFIG_INVALID.
 */
export function trinoCatalogs(
  stores: Readonly<Record<string, TrinoStore>>,
): Readonly<Record<string, string>> {
  const entries = Object.entries(checkObject(stores, 'trinoCatalogs')) as [string, TrinoStore][];
  return Object.fromEntries(
    entries.map(([name, store]) => [`etc/catalog/${name}.properties`, catalogOf(name, store)]),
  );
}

function catalogOf(name: string, store: TrinoStore): string {
  const path = `trinoCatalogs.${name}`;
  const plain = { matches: /^[a-z][a-z0-9_]*$/, says: 'lower case letters, digits and _' };
  checkString(name, 'trinoCatalogs', { charactersMax: 63, pattern: plain });
  checkOptions(store, ['system', 'host', 'database'], path);
  const systems = Object.keys(connectors) as TrinoSystem[];
  const system = checkOneOf(store.system, `${path}.system`, systems);
  const { name: connector, port, lines } = connectors[system];
  const database = checkString(store.database, `${path}.database`, {
    charactersMax: 200,
    pattern: { matches: /^[\w-]+$/, says: 'letters, digits, _ and -' },
  });
  const at = addressOf(checkString(store.host, `${path}.host`), port, `${path}.host`);
  const upper = name.toUpperCase();
  const credentials =
    system === 'mongodb'
      ? [`mongodb.connection-url=\${ENV:${upper}_URL}`]
      : system === 'elasticsearch'
        ? []
        : CREDENTIALS.map(
            (key) => `${key}=\${ENV:${upper}_${key === 'connection-user' ? 'USER' : 'PASSWORD'}}`,
          );
  return `${[`connector.name=${connector}`, ...lines(at, database), ...credentials].join('\n')}\n`;
}

function addressOf(
  text: string,
  or: number,
  path: string,
): { readonly host: string; readonly port: number } {
  checkString(text, path, {
    charactersMax: 253,
    pattern: { matches: /^[A-Za-z0-9.-]+(?::\d{1,5})?$/, says: 'a host, with its port if need be' },
  });
  const [host = '', port = String(or)] = text.split(':');
  return { host, port: checkNumber(Number(port), path, { min: 1, max: 65_535, integer: true }) };
}
