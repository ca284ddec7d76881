-- toller's own tables. No keys and no indexes: DuckDB has had replay bugs with those after a kill, and every
-- statement that writes here finds its rows by itself. All times are UTC.

-- One row a run. {text} is VARCHAR without compression: so few strings gain nothing by it, and to build a dictionary
-- for each of these columns takes DuckDB 10 ms at the end of a run.
CREATE TABLE IF NOT EXISTS {manifest} (
    run_id      {text} NOT NULL,
    started_at  TIMESTAMP NOT NULL,
    updated_at  TIMESTAMP,
    finished_at TIMESTAMP,
    status      {text} NOT NULL,  -- running, complete, partial, interrupted, failed, abandoned
    pending     BIGINT,           -- distinct GUIDs found at the start
    fetched     BIGINT,
    reused      BIGINT,
    failed      BIGINT,
    bytes       BIGINT,
    requests    BIGINT,           -- every one sent, retries and redirects too
    connections BIGINT,
    workers     INTEGER,
    url         {text},           -- the template, or the column that holds the URLs
    dest        {text},
    extension   {text},
    fanout      INTEGER,
    host        {text},
    pid         BIGINT,
    version     {text},
    error       {text},
    expect      {text},           -- what counted as a good body
    image_table {text}            -- which table of images it was for, with its schema
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
