package host;

import java.net.InetAddress;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.cluster.node.DiscoveryNode;
import org.elasticsearch.common.component.AbstractLifecycleComponent;
import org.elasticsearch.common.lease.Releasable;
import org.elasticsearch.common.transport.BoundTransportAddress;
import org.elasticsearch.common.transport.TransportAddress;
import org.elasticsearch.transport.ConnectTransportException;
import org.elasticsearch.transport.ConnectionProfile;
import org.elasticsearch.transport.RequestHandlerRegistry;
import org.elasticsearch.transport.Transport;
import org.elasticsearch.transport.TransportMessageListener;
import org.elasticsearch.transport.TransportRequest;
import org.elasticsearch.transport.TransportStats;

/** The transport of a node that has no others: it keeps the handlers, and reaches nobody. */
final class Alone extends AbstractLifecycleComponent implements Transport {
  private static final int NO_PORT = 1;

  private final Map<String, RequestHandlerRegistry<? extends TransportRequest>> handlers = new ConcurrentHashMap<>();
  private final ResponseHandlers responses = new ResponseHandlers();

  static BoundTransportAddress loopback(int port) {
    TransportAddress address = new TransportAddress(InetAddress.getLoopbackAddress(), port);
    return new BoundTransportAddress(new TransportAddress[] {address}, address);
  }

  @Override
  public synchronized <R extends TransportRequest> void registerRequestHandler(RequestHandlerRegistry<R> registry) {
    handlers.put(registry.getAction(), registry);
  }

  @Override
  public RequestHandlerRegistry<? extends TransportRequest> getRequestHandler(String action) {
    return handlers.get(action);
  }

  @Override
  public void addMessageListener(TransportMessageListener listener) {}

  @Override
  public boolean removeMessageListener(TransportMessageListener listener) {
    return false;
  }

  @Override
  public BoundTransportAddress boundAddress() {
    return loopback(NO_PORT);
  }

  @Override
  public Map<String, BoundTransportAddress> profileBoundAddresses() {
    return Collections.emptyMap();
  }

  @Override
  public TransportAddress[] addressesFromString(String address, int perAddress) {
    return new TransportAddress[0];
  }

  @Override
  public List<String> getLocalAddresses() {
    return Collections.emptyList();
  }

  @Override
  public Releasable openConnection(
      DiscoveryNode node, ConnectionProfile profile, ActionListener<Transport.Connection> listener) {
    listener.onFailure(new ConnectTransportException(node, "this node is alone"));
    return () -> {};
  }

  @Override
  public TransportStats getStats() {
    return new TransportStats(0, 0, 0, 0, 0);
  }

  @Override
  public ResponseHandlers getResponseHandlers() {
    return responses;
  }

  @Override
  protected void doStart() {}

  @Override
  protected void doStop() {}

  @Override
  protected void doClose() {}
}
