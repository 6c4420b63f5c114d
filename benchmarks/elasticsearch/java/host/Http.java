package host;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.common.bytes.BytesArray;
import org.elasticsearch.common.bytes.BytesReference;
import org.elasticsearch.common.component.AbstractLifecycleComponent;
import org.elasticsearch.common.transport.BoundTransportAddress;
import org.elasticsearch.common.xcontent.NamedXContentRegistry;
import org.elasticsearch.http.HttpChannel;
import org.elasticsearch.http.HttpInfo;
import org.elasticsearch.http.HttpRequest;
import org.elasticsearch.http.HttpResponse;
import org.elasticsearch.http.HttpServerTransport;
import org.elasticsearch.http.HttpStats;
import org.elasticsearch.rest.AbstractRestChannel;
import org.elasticsearch.rest.RestChannel;
import org.elasticsearch.rest.RestRequest;
import org.elasticsearch.rest.RestResponse;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.threadpool.ThreadPool;

/** The JDK's HTTP server in front of Elasticsearch's own REST handlers, which it calls by their dispatcher. */
final class Http extends AbstractLifecycleComponent implements HttpServerTransport {
  private static final int BACKLOG = 100;
  private static final int THREADS = 8;
  private static final long CONTENT_BYTES_MAX = 1 << 30;

  private final int port;
  private final Dispatcher dispatcher;
  private final NamedXContentRegistry registry;
  private final ThreadPool pool;
  private HttpServer server;

  Http(int port, Dispatcher dispatcher, NamedXContentRegistry registry, ThreadPool pool) {
    this.port = port;
    this.dispatcher = dispatcher;
    this.registry = registry;
    this.pool = pool;
  }

  @Override
  protected void doStart() {
    try {
      server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), BACKLOG);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    server.setExecutor(Executors.newFixedThreadPool(THREADS));
    server.createContext("/", this::handle);
    server.start();
  }

  private void handle(HttpExchange exchange) throws IOException {
    HttpRequest asked = new Asked(exchange, exchange.getRequestBody().readAllBytes());
    RestRequest request = RestRequest.request(registry, asked, new Client(exchange));
    RestChannel answers =
        new AbstractRestChannel(request, true) {
          @Override
          public void sendResponse(RestResponse response) {
            answer(exchange, response);
          }
        };
    dispatcher.dispatchRequest(request, answers, pool.getThreadContext());
  }

  private static void answer(HttpExchange exchange, RestResponse response) {
    try (exchange) {
      byte[] content = BytesReference.toBytes(response.content());
      boolean isEmpty = content.length == 0 || exchange.getRequestMethod().equals("HEAD");
      exchange.getResponseHeaders().set("Content-Type", response.contentType());
      exchange.sendResponseHeaders(response.status().getStatus(), isEmpty ? -1 : content.length);
      if (!isEmpty) {
        exchange.getResponseBody().write(content);
      }
    } catch (IOException error) {
      error.printStackTrace(); // the client went away
    }
  }

  @Override
  public BoundTransportAddress boundAddress() {
    return Alone.loopback(port);
  }

  @Override
  public HttpInfo info() {
    return new HttpInfo(boundAddress(), CONTENT_BYTES_MAX);
  }

  @Override
  public HttpStats stats() {
    return new HttpStats(0, 0);
  }

  @Override
  protected void doStop() {
    server.stop(0);
  }

  @Override
  protected void doClose() {}

  /** A request as Elasticsearch reads one. */
  private static final class Asked implements HttpRequest {
    private final HttpExchange exchange;
    private final byte[] body;

    Asked(HttpExchange exchange, byte[] body) {
      this.exchange = exchange;
      this.body = body;
    }

    @Override
    public RestRequest.Method method() {
      return RestRequest.Method.valueOf(exchange.getRequestMethod());
    }

    @Override
    public String uri() {
      return exchange.getRequestURI().toString();
    }

    @Override
    public BytesReference content() {
      return new BytesArray(body);
    }

    @Override
    public Map<String, List<String>> getHeaders() {
      return exchange.getRequestHeaders();
    }

    @Override
    public List<String> strictCookies() {
      return Collections.emptyList();
    }

    @Override
    public HttpVersion protocolVersion() {
      return HttpVersion.HTTP_1_1;
    }

    @Override
    public HttpRequest removeHeader(String header) {
      return this;
    }

    @Override
    public HttpResponse createResponse(RestStatus status, BytesReference content) {
      throw new UnsupportedOperationException("answers leave by the exchange");
    }
  }

  /** Where a request came from. */
  private static final class Client implements HttpChannel {
    private final HttpExchange exchange;

    Client(HttpExchange exchange) {
      this.exchange = exchange;
    }

    @Override
    public void sendResponse(HttpResponse response, ActionListener<Void> listener) {
      throw new UnsupportedOperationException("answers leave by the exchange");
    }

    @Override
    public InetSocketAddress getLocalAddress() {
      return exchange.getLocalAddress();
    }

    @Override
    public InetSocketAddress getRemoteAddress() {
      return exchange.getRemoteAddress();
    }

    @Override
    public void addCloseListener(ActionListener<Void> listener) {}

    @Override
    public boolean isOpen() {
      return true;
    }

    @Override
    public void close() {}
  }
}
