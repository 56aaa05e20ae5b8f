"""Prints the lines that Spark's older streaming, DStreams, gets from a socket, until it has as many as are asked for.

    python tests/readers/dstream.py PORT LINES
"""

import os
import sys
import threading

from pyspark import SparkConf, SparkContext
from pyspark.streaming import StreamingContext

port, wanted = map(int, sys.argv[1:])
# The workers have to run the Python that this runs by.
os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
context = SparkContext(conf=SparkConf().setMaster("local[2]").setAppName("lines").set("spark.ui.enabled", "false"))
context.setLogLevel("ERROR")
streaming = StreamingContext(context, 1)
count, has_all = 0, threading.Event()


def show(_, batch):
    global count
    for line in batch.collect():
        sys.stdout.buffer.write(line.encode() + b"\n")
        count += 1
    if count >= wanted:
        has_all.set()


streaming.socketTextStream("127.0.0.1", port).foreachRDD(show)
streaming.start()
has_all.wait()
sys.stdout.flush()
# A graceful stop would wait for a further connection.
os._exit(0)
