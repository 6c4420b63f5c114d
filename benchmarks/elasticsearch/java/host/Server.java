package host;

import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.elasticsearch.cluster.metadata.IndexNameExpressionResolver;
import org.elasticsearch.cluster.node.DiscoveryNodes;
import org.elasticsearch.common.io.stream.NamedWriteableRegistry;
import org.elasticsearch.common.network.NetworkService;
import org.elasticsearch.common.settings.ClusterSettings;
import org.elasticsearch.common.settings.IndexScopedSettings;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.common.settings.SettingsFilter;
import org.elasticsearch.common.util.BigArrays;
import org.elasticsearch.common.util.PageCacheRecycler;
import org.elasticsearch.common.xcontent.NamedXContentRegistry;
import org.elasticsearch.env.Environment;
import org.elasticsearch.http.HttpServerTransport;
import org.elasticsearch.index.analysis.TokenizerFactory;
import org.elasticsearch.indices.analysis.AnalysisModule.AnalysisProvider;
import org.elasticsearch.indices.breaker.CircuitBreakerService;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.ActionPlugin;
import org.elasticsearch.plugins.AnalysisPlugin;
import org.elasticsearch.plugins.NetworkPlugin;
import org.elasticsearch.plugins.Plugin;
import org.elasticsearch.rest.RestController;
import org.elasticsearch.rest.RestHandler;
import org.elasticsearch.threadpool.ThreadPool;
import org.elasticsearch.transport.Transport;

/** A lone node of Elasticsearch made of its own classes: <code>Server PORT HOME</code>. */
public final class Server {
  private Server() {}

  /** What these classes lack, as a plugin: Elasticsearch ships it in modules of its own. */
  public static final class Parts extends Plugin implements NetworkPlugin, AnalysisPlugin, ActionPlugin {
    static int port;

    @Override
    public Map<String, Supplier<Transport>> getTransports(
        Settings settings, ThreadPool pool, PageCacheRecycler pages, CircuitBreakerService breakers,
        NamedWriteableRegistry registry, NetworkService network) {
      return Collections.singletonMap("alone", Alone::new);
    }

    @Override
    public Map<String, Supplier<HttpServerTransport>> getHttpTransports(
        Settings settings, ThreadPool pool, BigArrays arrays, PageCacheRecycler pages,
        CircuitBreakerService breakers, NamedXContentRegistry registry, NetworkService network,
        HttpServerTransport.Dispatcher dispatcher) {
      return Collections.singletonMap("plain", () -> new Http(port, dispatcher, registry, pool));
    }

    @Override
    public Map<String, AnalysisProvider<TokenizerFactory>> getTokenizers() {
      return Collections.singletonMap("ngram", Trigrams::new);
    }

    @Override
    public List<RestHandler> getRestHandlers(
        Settings settings, RestController controller, ClusterSettings cluster, IndexScopedSettings scoped,
        SettingsFilter filter, IndexNameExpressionResolver names, Supplier<DiscoveryNodes> nodes) {
      return Collections.singletonList(new DeleteByQuery(settings, controller));
    }
  }

  /** A node with that plugin; the public constructors take none. */
  private static final class LoneNode extends Node {
    LoneNode(Environment environment) {
      super(environment, Collections.singletonList(Parts.class), false);
    }
  }

  public static void main(String[] arguments) throws Exception {
    Parts.port = Integer.parseInt(arguments[0]);
    Settings settings =
        Settings.builder()
            .put("path.home", arguments[1])
            .put("cluster.name", "benchmark")
            .put("node.name", "lone")
            .put("discovery.type", "single-node")
            .put("transport.type", "alone")
            .put("http.type", "plain")
            .put("cluster.routing.allocation.disk.threshold_enabled", false)
            .build();
    new LoneNode(InternalSettingsPreparer.prepareEnvironment(settings, Collections.emptyMap(), null, () -> "lone"))
        .start();
    // It ends with whoever started it: its standard input is then at its end.
    while (System.in.read() >= 0) {}
    System.exit(0);
  }
}
