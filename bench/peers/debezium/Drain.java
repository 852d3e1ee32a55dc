import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.format.Json;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Executors;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.Pipeline;
import redis.clients.jedis.StreamEntryID;

/**
 * Debezium's engine into Redis, as its server's sink does it: a batch of events is one pipeline of XADD to a stream,
 * and its offsets are noted behind it. Arguments: URL of the database, slot, publication, URL of Redis, the stream,
 * file of offsets. Says "ready" when it streams.
 */
public final class Drain {
  public static void main(String[] args) throws Exception {
    java.net.URI database = java.net.URI.create(args[0]);
    java.net.URI target = java.net.URI.create(args[3]);
    String stream = args[4];
    Properties props = new Properties();
    props.setProperty("name", "bench");
    props.setProperty("connector.class", "io.debezium.connector.postgresql.PostgresConnector");
    props.setProperty("offset.storage", "org.apache.kafka.connect.storage.FileOffsetBackingStore");
    props.setProperty("offset.storage.file.filename", args[5]);
    props.setProperty("offset.flush.interval.ms", "1000");
    props.setProperty("topic.prefix", "bench");
    props.setProperty("database.hostname", database.getHost());
    props.setProperty("database.port", String.valueOf(database.getPort()));
    props.setProperty("database.user", database.getUserInfo().split(":")[0]);
    props.setProperty("database.password", "unused");
    props.setProperty("database.dbname", database.getPath().substring(1));
    props.setProperty("plugin.name", "pgoutput");
    props.setProperty("slot.name", args[1]);
    props.setProperty("publication.name", args[2]);
    props.setProperty("publication.autocreate.mode", "disabled");
    props.setProperty("table.include.list", "public.lines");
    // The slot holds what is wanted: nothing is read before it.
    props.setProperty("snapshot.mode", "no_data");
    props.setProperty("decimal.handling.mode", "string");
    // Values without the schema of each; the schema would be several times the row.
    props.setProperty("key.converter.schemas.enable", "false");
    props.setProperty("value.converter.schemas.enable", "false");
    // For latency, what waits is looked for more often than the default of 500 ms.
    props.setProperty("poll.interval.ms", "1");
    props.setProperty("max.batch.size", "2048");
    Jedis connection = new Jedis(target);
    DebeziumEngine<ChangeEvent<String, String>> engine =
        DebeziumEngine.create(Json.class)
            .using(props)
            .using(
                new DebeziumEngine.ConnectorCallback() {
                  @Override
                  public void taskStarted() {
                    System.out.println("ready");
                  }
                })
            .using((ok, message, error) -> {
              System.err.println(message);
              if (error != null) error.printStackTrace();
            })
            .notifying((List<ChangeEvent<String, String>> events, DebeziumEngine.RecordCommitter<ChangeEvent<String, String>> committer) -> {
              Pipeline pipeline = connection.pipelined();
              for (ChangeEvent<String, String> event : events)
                pipeline.xadd(stream, StreamEntryID.NEW_ENTRY,
                    Map.of(event.key(), event.value() == null ? "" : event.value()));
              pipeline.sync();
              for (ChangeEvent<String, String> event : events) committer.markProcessed(event);
              committer.markBatchFinished();
            })
            .build();
    Executors.newSingleThreadExecutor().execute(engine);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> Runtime.getRuntime().halt(0)));
  }
}
