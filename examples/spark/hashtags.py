"""Counts the hashtags of each minute of the posts that a `Socket` of waterspout sends, by Spark.

    python examples/spark/hashtags.py [--host HOST] [--port PORT] [--parquet FOLDER] [--until POSTS] [--memory SIZE]

Each batch shows the most frequent hashtags so far. With --parquet it also writes all counts so far into FOLDER, as
Parquet. With --until it ends once Spark has taken so many posts; else it ends by Ctrl-C.
Spark's socket source keeps in memory all that it has read and not yet counted: a million lines of 150 bytes don't fit
into the 1 GB that Java gets from Spark by default, so --memory is 4g unless you say otherwise.
"""

import argparse
import os
import sys
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

# What is read of a post: of X (v1.1 and v2) and of Mastodon. Everything else of it is passed over.
POST = """
    tweet STRUCT<created_at: STRING, entities: STRUCT<hashtags: ARRAY<STRUCT<tag: STRING, text: STRING>>>>,
    toot STRUCT<created_at: STRING, tags: ARRAY<STRUCT<name: STRING>>>
"""


def session(memory):
    """Starts Spark on this machine. `memory` is the most that its Java may use.

    The socket source looks for each row of a partition from the partition's beginning, so that a batch takes a time
    that grows by the square of the rows in a partition: many small partitions take a fraction of it. The counts are
    small, and need few.
    """
    # The workers have to run the Python that this runs by.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    settings = {
        "spark.sql.session.timeZone": "UTC",
        "spark.default.parallelism": "64",
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "false",
        "spark.driver.memory": memory,
    }
    spark = SparkSession.builder.master("local[2]").appName("hashtags").config(map=settings).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def time_of(text):
    """Times as X writes them in v1.1 ("Fri Jul 04 01:02:03 +0000 2014"), or as everybody else does."""
    old = f.to_timestamp(f.substring(text, 5, 26), "MMM dd HH:mm:ss Z yyyy")
    return f.when(text.rlike("^[A-Z]"), old).otherwise(f.to_timestamp(text))


def count_hashtags(lines):
    """How often each hashtag came in each minute of the posts' own time. `lines` has a post in each row."""
    post = lines.select(f.from_json("value", POST).alias("post"))
    of_x = f.transform("post.tweet.entities.hashtags", lambda hashtag: f.coalesce(hashtag.tag, hashtag.text))
    of_mastodon = f.col("post.toot.tags.name")
    created_at = f.coalesce("post.tweet.created_at", "post.toot.created_at")
    hashtags = post.select(
        time_of(created_at).alias("time"),
        f.explode(f.coalesce(of_x, of_mastodon)).alias("hashtag"),
    )
    minute = f.window("time", "1 minute").start.alias("minute")
    return hashtags.groupBy(minute, f.lower("hashtag").alias("hashtag")).count()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--port", type=int, default=9999)
    arguments.add_argument("--parquet", metavar="FOLDER")
    arguments.add_argument("--until", type=int, metavar="POSTS")
    arguments.add_argument("--memory", default="4g")
    options = arguments.parse_args()

    spark = session(options.memory)
    source = spark.readStream.format("socket").option("host", options.host).option("port", options.port)

    def show(counts, batch):
        counts.persist()
        counts.orderBy(f.desc("count"), "minute", "hashtag").show(10, truncate=False)
        if options.parquet:
            counts.coalesce(1).write.mode("overwrite").parquet(options.parquet)
        counts.unpersist()

    # Each batch has all counts so far. For a stream without an end, take a watermark and "append" instead:
    # https://spark.apache.org/docs/3.5.6/structured-streaming-programming-guide.html#handling-late-data-and-watermarking
    query = count_hashtags(source.load()).writeStream.outputMode("complete").foreachBatch(show).start()
    taken = {}
    while query.isActive and (options.until is None or sum(taken.values()) < options.until):
        # Spark tells the last hundred batches.
        taken.update((batch["batchId"], batch["numInputRows"]) for batch in query.recentProgress)
        time.sleep(0.2)
    print(f"{sum(taken.values())} posts in {len(taken)} batches", flush=True)
    query.stop()
    spark.stop()


if __name__ == "__main__":
    main()
