#!/usr/bin/env python3
"""spark-submit spark.py GUIDS OUTCOMES PARTITIONS: fetches the GUIDs in a file with `toller pipe`, a partition each.

    toller pending > GUIDS && spark-submit spark.py GUIDS OUTCOMES 4 && toller merge OUTCOMES/part-*

GUIDS, OUTCOMES (a folder that is made) and TOLLER_DEST lie where all executors see them; TOLLER_URL and whatever
else begins with TOLLER_ is passed on. OUTCOMES may be HDFS or S3: then `hadoop fs -text` brings the lines to merge.

Politeness at one origin: partitions at a time, which are executors × cores, × TOLLER_WORKERS connections. 2 executors
× 2 cores × 1 worker = 4 connections; TOLLER_RATE=10 makes that 4 × 10 = 40 requests a second.
"""

import os
import sys

from pyspark.sql import SparkSession

# 0, 3 and 4 are ends that the outcomes tell about. Anything else, a kill too, fails the task, and Spark tries it
# again: what is on disk by then is reused, and only the lines of the last try are kept.
PIPE = """sh -c 'toller pipe || case $? in 3 | 4) ;; *) exit 1 ;; esac'"""

guids, outcomes, partitions = sys.argv[1], sys.argv[2], int(sys.argv[3])
spark = SparkSession.builder.appName("toller").getOrCreate()
# Without `env` the program would start with an empty environment.
env = {name: value for name, value in os.environ.items() if name.startswith("TOLLER_") or name == "PATH"}
env = {"TOLLER_WORKERS": "1", "TOLLER_PROGRESS": "none", **env}
lines = spark.sparkContext.textFile(guids).repartition(partitions).pipe(PIPE, env=env, checkCode=True)
lines.saveAsTextFile(outcomes, "org.apache.hadoop.io.compress.GzipCodec")
spark.stop()
