package org.apache.lucene.search.intervals;

import org.apache.lucene.search.Query;

/** Named by Elasticsearch 7.0's queries of intervals, which nobody asks for; it moved in the wheel's Lucene. */
public abstract class IntervalQuery extends Query {}
