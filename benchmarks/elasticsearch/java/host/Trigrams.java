package host;

import org.apache.lucene.analysis.Tokenizer;
import org.apache.lucene.analysis.ngram.NGramTokenizer;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.index.IndexSettings;
import org.elasticsearch.index.analysis.AbstractTokenizerFactory;

/** The tokenizer "ngram" of the module analysis-common: Lucene's, with the index's settings. */
final class Trigrams extends AbstractTokenizerFactory {
  private final int min;
  private final int max;

  Trigrams(IndexSettings index, Environment environment, String name, Settings settings) {
    super(index, settings);
    min = settings.getAsInt("min_gram", NGramTokenizer.DEFAULT_MIN_NGRAM_SIZE);
    max = settings.getAsInt("max_gram", NGramTokenizer.DEFAULT_MAX_NGRAM_SIZE);
  }

  @Override
  public Tokenizer create() {
    return new NGramTokenizer(min, max);
  }
}
