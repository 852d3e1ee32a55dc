import java.nio.file.Path;
import org.neo4j.configuration.GraphDatabaseSettings;
import org.neo4j.configuration.connectors.BoltConnector;
import org.neo4j.configuration.connectors.HttpConnector;
import org.neo4j.configuration.helpers.SocketAddress;
import org.neo4j.dbms.api.DatabaseManagementServiceBuilder;

/** The server of Neo4j's Community edition, without its web pages: arguments are its folder and the port of Bolt. */
public class Neo4j {
  public static void main(String[] args) throws Exception {
    var management = new DatabaseManagementServiceBuilder(Path.of(args[0]))
      .setConfig(BoltConnector.enabled, true)
      .setConfig(BoltConnector.listen_address, new SocketAddress("127.0.0.1", Integer.parseInt(args[1])))
      .setConfig(HttpConnector.enabled, false)
      .setConfig(GraphDatabaseSettings.auth_enabled, false)
      .setConfig(GraphDatabaseSettings.pagecache_memory, 64L * 1024 * 1024)
      .build();
    Runtime.getRuntime().addShutdownHook(new Thread(management::shutdown));
    System.out.println("Neo4j serves");
    Thread.currentThread().join();
  }
}
