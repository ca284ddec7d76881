#!/usr/bin/env bash
#SBATCH --job-name=toller --array=1-4 --cpus-per-task=1 --requeue
# sbatch slurm.sh OUTCOMES: an array job that fetches what is pending; --array=1-N sets the number of shards.
# TOLLER_WAREHOUSE, TOLLER_URL, TOLLER_DEST and OUTCOMES lie on a file system that all nodes share. Then, once:
#
#   toller merge OUTCOMES/*.ndjson
#
# Politeness at one origin: shards at a time × TOLLER_WORKERS connections, × TOLLER_RATE requests a second.
# 4 shards × 1 worker = 4 connections; TOLLER_RATE=10 makes that 4 × 10 = 40 requests a second. --array=1-100%4 lets
# only 4 of 100 shards run at a time.
set -u
# A batch job may have another PATH than a shell, and toller may be in ~/.local/bin.
export PATH=$PATH:/usr/local/bin${HOME:+:$HOME/.local/bin}
export TOLLER_WORKERS=${TOLLER_WORKERS:-1} TOLLER_PROGRESS=none
mkdir -p "$1"

toller pending --shard auto | toller pipe >"$1/$SLURM_ARRAY_TASK_ID.ndjson"
codes=("${PIPESTATUS[@]}")
# A list that was cut off hides behind whatever came of its first part.
code=${codes[0]}
[ "$code" != 0 ] || code=${codes[1]}
case ${codes[*]} in
"0 0" | "0 3" | "0 4") exit 0 ;; # the outcomes tell the rest
esac
# Anything else is tried again, a kill too: what is on disk by then is reused.
[ "${SLURM_RESTART_COUNT:-0}" -ge 3 ] || scontrol requeue "$SLURM_JOB_ID"
exit "$code"
