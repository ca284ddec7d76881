#!/usr/bin/env bash
# parallel.sh JOBS OUTCOMES: fetches what is pending with JOBS `toller pipe`s beside each other, on this machine or,
# with --sshlogin in PARALLEL, on several; then brings their outcomes home. OUTCOMES is a folder that is made.
# TOLLER_WAREHOUSE, TOLLER_URL and TOLLER_DEST say what, from where and where to; BLOCK (1M) how much goes to one pipe.
#
# Politeness at one origin: machines × JOBS × TOLLER_WORKERS connections, machines × JOBS × TOLLER_RATE requests
# a second. 1 machine × 8 jobs × 1 worker = 8 connections; TOLLER_RATE=5 makes that 1 × 8 × 5 = 40 requests a second.
set -euo pipefail
# cron's PATH is /usr/bin:/bin, and toller may be in ~/.local/bin.
export PATH=$PATH:/usr/local/bin${HOME:+:$HOME/.local/bin}
export OUTCOMES=$2 TOLLER_WORKERS=${TOLLER_WORKERS:-1} TOLLER_PROGRESS=none
mkdir -p "$OUTCOMES"

# 0, 3 and 4 are ends that the outcomes tell about. Anything else, a kill too, is tried again: what is on disk by
# then is reused, and the outcomes of the first try are overwritten.
# shellcheck disable=SC2016
toller pending | parallel --will-cite --pipe --block "${BLOCK:-1M}" --jobs "$1" --retries 3 \
    'toller pipe >"$OUTCOMES/{#}.ndjson" || case $? in 3 | 4) ;; *) exit 1 ;; esac'

find "$OUTCOMES" -name '*.ndjson' -exec toller merge {} +
