#!/usr/bin/env bash
# prometheus.sh WAREHOUSE FILE: writes FILE for the textfile collector of Prometheus' node_exporter.
#
#   * * * * *  /usr/local/bin/prometheus.sh /data/images.duckdb /var/lib/node_exporter/toller.prom
set -euo pipefail
# cron's PATH is /usr/bin:/bin, and toller may be in ~/.local/bin.
export PATH=$PATH:/usr/local/bin${HOME:+:$HOME/.local/bin}
warehouse=${1:?which warehouse} file=${2:?which file}

# The collector may look at any time: it finds the old file or the new one.
new=$(mktemp "$file.XXXXXX")
trap 'rm -f "$new"' EXIT
toller status --warehouse "$warehouse" --json | jq -r --arg warehouse "$warehouse" '
    def labels($more): {warehouse: $warehouse} + $more | to_entries | map("\(.key)=\(.value | tojson)") | "{" + join(",") + "}";
    def time: sub("\\.[0-9]+"; "") | fromdateiso8601;
    (.last_runs[0] // null) as $last
    | "# TYPE toller_images gauge",
      (["done", "pending", "failed_permanent"][] as $state | "toller_images\(labels({state: $state})) \(.[$state])"),
      "# TYPE toller_failures gauge",
      (.failures | to_entries[] | "toller_failures\(labels({kind: .key})) \(.value)"),
      "# TYPE toller_running gauge",
      "toller_running\(labels({})) \(if .running then 1 else 0 end)",
      if $last then
          "# TYPE toller_last_run_seconds gauge",
          "toller_last_run_seconds\(labels({status: $last.status})) \($last.updated_at | time)"
      else empty end' >"$new"
chmod 644 "$new"
mv "$new" "$file"
