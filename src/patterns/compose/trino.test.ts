import { expect, test } from 'vitest';
import { trinoCatalogs, type TrinoStore } from './trino.ts';

test('a file for each store, and no secret in it', () => {
  expect(
    trinoCatalogs({
      orders: { system: 'postgres', host: 'db.internal:5433', database: 'shop' },
      views: { system: 'clickhouse', host: 'ch', database: 'default' },
      carts: { system: 'mongodb', host: 'mongo', database: 'carts' },
      search: { system: 'elasticsearch', host: 'es', database: 'default' },
    }),
  ).toEqual({
    'etc/catalog/orders.properties': [
      'connector.name=postgresql',
      'connection-url=jdbc:postgresql://db.internal:5433/shop',
      'connection-user=${ENV:ORDERS_USER}',
      'connection-password=${ENV:ORDERS_PASSWORD}',
      '',
    ].join('\n'),
    'etc/catalog/views.properties': [
      'connector.name=clickhouse',
      'connection-url=jdbc:clickhouse://ch:8123/default',
      'connection-user=${ENV:VIEWS_USER}',
      'connection-password=${ENV:VIEWS_PASSWORD}',
      '',
    ].join('\n'),
    'etc/catalog/carts.properties':
      'connector.name=mongodb\nmongodb.connection-url=${ENV:CARTS_URL}\n',
    'etc/catalog/search.properties':
      'connector.name=elasticsearch\nelasticsearch.host=es\nelasticsearch.port=9200\nelasticsearch.default-schema-name=default\n',
  });
});

test.each([
  ['orders', { system: 'oracle' }, 'CONFIG_INVALID'],
  ['orders', { host: 'db\nconnector.name=x' }, 'CONFIG_INVALID'],
  ['orders', { host: 'db:99999' }, 'CONFIG_INVALID'],
  ['orders', { database: 'shop?user=root' }, 'CONFIG_INVALID'],
  ['../orders', {}, 'CONFIG_INVALID'],
  ['orders', { password: 'secret' }, 'CONFIG_UNKNOWN_OPTION'],
])('refuses %s with %j', (name, wrong, code) => {
  const store = { system: 'postgres', host: 'db', database: 'shop', ...wrong } as TrinoStore;
  expect(() => trinoCatalogs({ [name]: store })).toThrow(expect.objectContaining({ code }));
});
