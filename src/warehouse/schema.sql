-- toller's own tables. No keys and no indexes: DuckDB has had replay bugs with those after a kill, and every
-- statement that writes here finds its rows by itself. All times are UTC.

-- One row a run.
CREATE TABLE IF NOT EXISTS {manifest} (
    run_id      VARCHAR NOT NULL,
    started_at  TIMESTAMP NOT NULL,
    updated_at  TIMESTAMP,
    finished_at TIMESTAMP,
    status      VARCHAR NOT NULL, -- running, complete, partial, interrupted, failed, abandoned
    pending     BIGINT,           -- distinct GUIDs found at the start
    fetched     BIGINT,
    reused      BIGINT,
    failed      BIGINT,
    bytes       BIGINT,
    requests    BIGINT,           -- every one sent, retries and redirects too
    connections BIGINT,
    workers     INTEGER,
    url         VARCHAR,          -- the template, or the column that holds the URLs
    dest        VARCHAR,
    extension   VARCHAR,
    fanout      INTEGER,
    host        VARCHAR,
    pid         BIGINT,
    version     VARCHAR,
    error       VARCHAR,
    expect      VARCHAR           -- what counted as a good body
);

-- At most one row for each GUID that stands failed; a later success takes it away.
CREATE TABLE IF NOT EXISTS {failure} (
    source_image_id {id_type} NOT NULL,
    url         VARCHAR,
    kind        VARCHAR NOT NULL,
    http_status INTEGER,
    message     VARCHAR,
    attempts    BIGINT,           -- over all runs
    permanent   BOOLEAN NOT NULL,
    run_id      VARCHAR,
    failed_at   TIMESTAMP
);
