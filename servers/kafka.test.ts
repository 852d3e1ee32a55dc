import {
  Admin,
  Consumer,
  Producer,
  stringDeserializers,
  stringSerializers,
} from '@platformatic/kafka';
import { describe, expect, test } from 'vitest';
import { hasKafka } from '../test/support/kafka.ts';
import { startKafka } from './index.ts';
import { isAlive } from './process.ts';

describe.skipIf(!hasKafka)('Kafka', () => {
  test('has on its next start what it acknowledged before it was killed', async () => {
    await using server = await startKafka();
    const { pid, port } = server;
    const brokers = { clientId: 'test', bootstrapBrokers: [`127.0.0.1:${port}`] };
    const admin = new Admin(brokers);
    await admin.createTopics({ topics: ['kept'], partitions: 1, replicas: 1 });
    await admin.close();
    const producer = new Producer({ ...brokers, serializers: stringSerializers, acks: -1 });
    await producer.send({ messages: [{ topic: 'kept', key: 'a', value: 'yes' }] });
    await producer.close();

    await server.kill();
    expect(await isAlive(pid)).toBe(false);
    await server.restart();
    expect(server.port).toBe(port);

    const consumer = new Consumer({ ...brokers, groupId: 'g', deserializers: stringDeserializers });
    const messages = await consumer.consume({ topics: ['kept'], mode: 'earliest' });
    for await (const { key, value } of messages) {
      expect([key, value]).toEqual(['a', 'yes']);
      break;
    }
    await consumer.close(true);
  });
});
