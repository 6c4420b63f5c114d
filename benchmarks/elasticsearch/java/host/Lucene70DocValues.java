package host;

import java.io.IOException;
import org.apache.lucene.codecs.DocValuesConsumer;
import org.apache.lucene.codecs.DocValuesFormat;
import org.apache.lucene.codecs.DocValuesProducer;
import org.apache.lucene.codecs.lucene80.Lucene80DocValuesFormat;
import org.apache.lucene.index.SegmentReadState;
import org.apache.lucene.index.SegmentWriteState;

/** The format that Elasticsearch 7.0 asks for by its name, which the wheel's later Lucene calls otherwise. */
public final class Lucene70DocValues extends DocValuesFormat {
  private final DocValuesFormat later = new Lucene80DocValuesFormat();

  public Lucene70DocValues() {
    super("Lucene70");
  }

  @Override
  public DocValuesConsumer fieldsConsumer(SegmentWriteState state) throws IOException {
    return later.fieldsConsumer(state);
  }

  @Override
  public DocValuesProducer fieldsProducer(SegmentReadState state) throws IOException {
    return later.fieldsProducer(state);
  }
}
