//! What `-h` begins with: for each command the lines that most people want.

pub(super) const EXAMPLES: &str = "\
Examples:
  toller load   --warehouse images.duckdb guids.csv
  toller fetch  --warehouse images.duckdb --url 'https://cdn.example.com/thumbs/{guid}.jpg' --dest thumbs
  toller status --warehouse images.duckdb
  toller verify --warehouse images.duckdb --fix";

pub(super) const FETCH_EXAMPLES: &str = "\
Examples:
  toller fetch --warehouse images.duckdb --url 'https://cdn.example.com/thumbs/{guid}.jpg' --dest thumbs
  toller fetch --warehouse images.duckdb --url-column thumb_url --dest thumbs --extension jpg --limit 100
  toller fetch -n --warehouse images.duckdb --url 'https://cdn.example.com/{guid}' --dest thumbs
  TOLLER_WAREHOUSE=images.duckdb TOLLER_NO_SYNC=1 toller fetch --url … --dest thumbs --json";

pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  toller status --warehouse images.duckdb
  toller status --warehouse images.duckdb --json | jq .running.eta_seconds";

pub(super) const LOAD_EXAMPLES: &str = "\
Examples:
  toller load --warehouse images.duckdb guids.csv more.parquet
  toller load --warehouse images.duckdb --id-column guid export.ndjson
  psql -Atc 'SELECT id FROM images' | toller load --warehouse images.duckdb -";

pub(super) const VERIFY_EXAMPLES: &str = "\
Examples:
  toller verify --warehouse images.duckdb
  toller verify --warehouse images.duckdb --dest /mnt/thumbs --extension jpg --fix";

pub(super) const PENDING_EXAMPLES: &str = "\
Examples:
  toller pending --warehouse images.duckdb | wc -l
  toller pending --warehouse images.duckdb --shard 2/8 > shard-2.txt";

pub(super) const PIPE_EXAMPLES: &str = "\
Examples:
  toller pipe --url 'https://cdn.example.com/thumbs/{guid}.jpg' --dest thumbs < guids.txt > outcomes.ndjson
  toller pending --warehouse images.duckdb --shard 2/8 | toller pipe --url … --dest thumbs > 2.ndjson";

pub(super) const MERGE_EXAMPLES: &str = "\
Examples:
  toller merge --warehouse images.duckdb outcomes-*.ndjson
  zcat outcomes.ndjson.gz | toller merge --warehouse images.duckdb --dest thumbs -";
