"""Reads a table of events with Spark, and has R processes decrypt its partitions (worker.R).

driver.py EVENTS KEYS OUT PARTITIONS WORKER

EVENTS and KEYS are JSON lines: rows of events, and for each room a row with its keys as text. A partition has all rows of its
rooms, the keys first, so that its process is given no others.
"""

import os
import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

events_file, keys_file, out, partitions, worker = sys.argv[1:]

spark = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.sql.shuffle.partitions", "2")
    .getOrCreate()
)

# As a table that is stored has them: what JSON lacks is a column of nulls.
events = spark.read.schema(
    "room_id string, event_id string, sender string, type string, origin_server_ts bigint,"
    " state_key string, redacted boolean, redacts string, content string"
).json(events_file)
events.write.parquet(out + ".parquet")
events = spark.read.parquet(out + ".parquet")
keys = spark.read.schema("room_id string, keys string").json(keys_file)


def lines(frame, kind, place):
    line = f.concat(f.lit(kind + "\t"), f.to_json(f.struct(*frame.columns)))
    return frame.select("room_id", place.alias("place"), line.alias("line"))


# Of two events with one message the first counts, so the order must be that of the archive.
rows = (
    lines(events, "event", f.col("origin_server_ts"))
    .unionByName(lines(keys, "keys", f.lit(-1)))
    .repartition(int(partitions), "room_id")
    .sortWithinPartitions(f.col("place").asc_nulls_last(), "line")
    .select("line")
)
# Otherwise what is started has no environment.
read = rows.rdd.map(lambda row: row.line).pipe(f"Rscript --vanilla {worker}", env=dict(os.environ), checkCode=True)
read.saveAsTextFile(out)
print("Spark", spark.version)
spark.stop()
