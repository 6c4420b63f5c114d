package org.apache.lucene.search.intervals;

/** Named by Elasticsearch 7.0's queries of intervals, which nobody asks for; it moved in the wheel's Lucene. */
public class Intervals {}
