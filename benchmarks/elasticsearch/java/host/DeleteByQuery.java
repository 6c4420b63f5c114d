package host;

import java.io.IOException;
import org.elasticsearch.action.bulk.BulkRequest;
import org.elasticsearch.action.delete.DeleteRequest;
import org.elasticsearch.action.search.SearchRequest;
import org.elasticsearch.action.support.WriteRequest.RefreshPolicy;
import org.elasticsearch.client.node.NodeClient;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.rest.BaseRestHandler;
import org.elasticsearch.rest.BytesRestResponse;
import org.elasticsearch.rest.RestController;
import org.elasticsearch.rest.RestRequest;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.search.SearchHits;
import org.elasticsearch.search.builder.SearchSourceBuilder;

/** "_delete_by_query" of the module reindex, as a search and a bulk, again until nothing is found. */
final class DeleteByQuery extends BaseRestHandler {
  private static final int HITS_A_ROUND = 10_000;

  DeleteByQuery(Settings settings, RestController controller) {
    super(settings);
    controller.registerHandler(RestRequest.Method.POST, "/{index}/_delete_by_query", this);
  }

  @Override
  public String getName() {
    return "delete_by_query";
  }

  @Override
  protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client) throws IOException {
    String index = request.param("index");
    // Known, so that they aren't refused; what they ask for is what is done.
    request.param("refresh");
    request.param("conflicts");
    SearchSourceBuilder source = new SearchSourceBuilder();
    source.parseXContent(request.contentParser());
    SearchRequest search = new SearchRequest(index).source(source.size(HITS_A_ROUND).fetchSource(false));
    return channel ->
        client
            .threadPool()
            .generic()
            .execute(
                () -> {
                  String done = "{\"deleted\":" + deleted(client, index, search) + ",\"failures\":[]}";
                  channel.sendResponse(new BytesRestResponse(RestStatus.OK, "application/json", done));
                });
  }

  private static int deleted(NodeClient client, String index, SearchRequest search) {
    int count = 0;
    while (true) {
      SearchHits found = client.search(search).actionGet().getHits();
      if (found.getHits().length == 0) {
        return count;
      }
      BulkRequest bulk = new BulkRequest().setRefreshPolicy(RefreshPolicy.IMMEDIATE);
      found.forEach(hit -> bulk.add(new DeleteRequest(index, hit.getId())));
      client.bulk(bulk).actionGet();
      count += bulk.numberOfActions();
    }
  }
}
