import { describe, expect, test } from 'vitest';
import { catalogue, factsOf, findSystem, systemNames } from './catalogue.ts';
import { compassPage } from './compass.ts';
import { layOut, sectors } from './compass/layout.ts';
import { sources } from './sources.ts';

/** The systems that a reader may expect, by name. */
const expected =
  'PostgreSQL MySQL Oracle DB2 SQLite Redis Memcached DynamoDB FoundationDB RocksDB LevelDB MongoDB Elasticsearch Cassandra CouchDB RethinkDB Spanner CockroachDB Snowflake BigQuery Redshift ClickHouse Dgraph JanusGraph Neo4j ArangoDB HBase InfluxDB TimescaleDB Atlas Kafka RabbitMQ SQS S3 HDFS Hive Presto Trino Spark Flink etcd Consul ZooKeeper Riak EVCache DuckDB NATS Valkey OpenSearch'.split(
    ' ',
  );

describe('the catalogue', () => {
  test.each(expected)('knows %s', (name) => {
    expect(findSystem(name)).toBeDefined();
  });

  test('gives each name to one system', () => {
    const names = catalogue.flatMap(({ id, aliases }) => [id, ...aliases]);
    expect(names.length).toBe(new Set(names).size);
    expect(systemNames()).toHaveLength(names.length);
    for (const name of names) expect(name).toBe(name.toLowerCase());
  });

  test.each(catalogue.map((system) => [system.id, system] as const))(
    '%s: every fact has a value, a source, a date and a confidence that fits the source',
    (_id, system) => {
      const facts = factsOf(system);
      expect(facts.length).toBeGreaterThan(10);
      for (const { name, fact } of facts) {
        expect(sources[fact.source], name).toBeDefined();
        expect(fact.value, name).not.toBeUndefined();
        expect(fact.date, name).toMatch(/^\d{4}-\d{2}-\d{2}$/);
        const nobodyLooked = fact.source === 'unchecked' || fact.source === 'judgement';
        expect(fact.confidence === 'low', name).toBe(nobodyLooked);
      }
      for (const { source, versions, found, fixed } of system.tests) {
        expect(sources[source].url).toMatch(/^https?:/);
        for (const text of [versions, found, fixed]) expect(text).not.toBe('');
      }
      const ids = system.configurations.map(({ id }) => id);
      expect(ids.length).toBe(new Set(ids).size);
    },
  );

  test('CAP is of a configuration: the same system is consistent and available', () => {
    const classes = (name: string): string[] =>
      (findSystem(name)?.configurations ?? []).map(({ cap }) => cap.value).toSorted();
    expect(classes('postgres')).toEqual(['AP', 'CA', 'CP', 'CP']);
    expect(new Set(classes('cassandra'))).toEqual(new Set(['AP', 'CP']));
  });

  test('what contradicts itself is not in it: a single node survives nothing, a cluster class is not CA', () => {
    for (const { id, configurations } of catalogue)
      for (const { cap, pacelc, survives, guarantees } of configurations) {
        expect(cap.value === 'CA', id).toBe(pacelc.value === 'single node');
        if (cap.value === 'CA') expect(survives?.value, id).toBe(0);
        if (cap.value === 'AP') expect(guarantees?.value, id).not.toContain('linearizable');
      }
  });

  test('each document is of use, and says how much was looked up', () => {
    const used = new Set<string>(
      catalogue.flatMap((system) => [
        ...factsOf(system).map(({ fact }) => fact.source),
        ...system.tests.map(({ source }) => source),
      ]),
    );
    expect(Object.keys(sources).filter((id) => !used.has(id))).toEqual([]);
    const facts = catalogue.flatMap((system) => factsOf(system));
    const read = facts.filter(({ fact }) => fact.confidence !== 'low').length;
    console.log(
      `catalogue: ${catalogue.length} systems, ${facts.length} facts, ${read} read in ${Object.keys(sources).length - 2} documents`,
    );
    expect(read).toBeGreaterThan(200);
  });
});

describe('the compass', () => {
  test('places each configuration once, in its sector, without overlap', () => {
    const { marks, radius } = layOut(catalogue);
    expect(marks).toHaveLength(catalogue.flatMap(({ configurations }) => configurations).length);
    for (const { x, y, width, configuration } of marks) {
      for (const corner of [x, x + width]) {
        expect(Math.hypot(corner, y)).toBeLessThan(radius);
        const angle =
          ((Math.atan2(-y, corner) * 180) / Math.PI - sectors[configuration.cap.value] + 720) % 360;
        expect(angle, configuration.id).toBeLessThan(120);
      }
    }
    for (const [index, one] of marks.entries())
      for (const other of marks.slice(index + 1))
        expect(
          one.y !== other.y || one.x + one.width <= other.x || other.x + other.width <= one.x,
        ).toBe(true);
  });

  test('is one page that loads nothing', () => {
    const page = compassPage();
    expect(page).not.toMatch(/<(?:script|link|img)[^>]*\s(?:src|href)=/);
    expect(page).not.toMatch(/@import|url\(/);
    const [, data = ''] =
      /<script type="application\/json" id="data">(.*)<\/script>/.exec(page) ?? [];
    expect(data).not.toContain('<');
    expect((JSON.parse(data) as { marks: unknown[] }).marks.length).toBeGreaterThan(70);
  });
});
