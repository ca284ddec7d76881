#!/usr/bin/env python3
"""served.py: fetches for a warehouse that a DuckDB server holds all day, so that toller itself cannot open it.

    CALL quack_serve('quack:localhost:9494', token = '…');          -- what the server does, in DuckDB

    export WAREHOUSE=quack:localhost:9494 WAREHOUSE_TOKEN=…
    served.py pending |
        toller pipe --url 'https://cdn.example.com/thumbs/{guid}.jpg' --dest thumbs |
        served.py apply

`pending` prints what is missing by the client's SQL; `apply` takes what `toller pipe` prints and applies it by SQL, in
batches, each of which stands on the server before any row changes: killed at any instant, it is done again by the next
`apply` and changes nothing twice. Needs DuckDB 1.5 or later for Python, with its extensions httpfs and quack, which DuckDB
brings by itself, or from the files that QUACK_EXTENSIONS names, separated by colons. In a notebook that has the file
itself, the two SELECTs and UPDATEs below do the same on its own connection.
"""
import os
import sys
import time

import duckdb

TABLE = os.environ.get("WAREHOUSE_TABLE", "dim_image")
BATCH, SECONDS = 1000, 10

STAGE = """CREATE TABLE IF NOT EXISTS toller_outcome (guid VARCHAR, ok BOOLEAN, url VARCHAR, kind VARCHAR,
    http_status INTEGER, message VARCHAR, permanent BOOLEAN, attempts BIGINT, finished_at TIMESTAMP)"""
APPLY = [
    """CREATE TABLE IF NOT EXISTS toller_failure AS FROM toller_outcome LIMIT 0""",
    f"""UPDATE {TABLE} SET thumb_downloaded = true, updated_at = now()::TIMESTAMP
        WHERE source_image_id::VARCHAR IN (SELECT guid FROM toller_outcome WHERE ok)
        AND NOT coalesce(thumb_downloaded, false)""",
    """DELETE FROM toller_failure WHERE guid IN (SELECT guid FROM toller_outcome)""",
    """INSERT INTO toller_failure SELECT DISTINCT ON (guid) * FROM toller_outcome
        WHERE NOT ok AND guid NOT IN (SELECT guid FROM toller_outcome WHERE ok) ORDER BY finished_at DESC""",
    """DELETE FROM toller_outcome""",
]
PENDING = f"""SELECT DISTINCT source_image_id::VARCHAR FROM {TABLE} WHERE source_image_id IS NOT NULL
    AND NOT coalesce(thumb_downloaded, false)
    AND source_image_id::VARCHAR NOT IN (SELECT guid FROM toller_failure WHERE permanent)"""


def connect():
    files = [file for file in os.environ.get("QUACK_EXTENSIONS", "").split(":") if file]
    client = duckdb.connect(config={"allow_unsigned_extensions": "true"} if files else {})
    for extension in files or ["httpfs", "quack"]:
        if not files:
            client.execute(f"INSTALL {extension}")
        client.execute(f"LOAD '{extension}'")
    client.execute(f"CREATE SECRET (TYPE quack, TOKEN '{os.environ['WAREHOUSE_TOKEN']}')")
    client.execute(f"ATTACH '{os.environ['WAREHOUSE']}' AS w")
    return client


def serve(client, statement):
    """Runs a statement where the warehouse is: through the wire tables can be read and appended to, not updated."""
    return client.execute("CALL w.query(?)", [statement]).fetchall()


def apply(client, lines):
    if lines:
        client.execute("CREATE OR REPLACE TEMP TABLE line (text JSON)")
        client.executemany("INSERT INTO line VALUES (?)", [[line] for line in lines])
        client.execute("""INSERT INTO w.toller_outcome SELECT text->>'guid', (text->>'ok')::BOOLEAN, text->>'url', text->>'kind',
            (text->>'http_status')::INTEGER, text->>'message', (text->>'permanent')::BOOLEAN, (text->>'attempts')::BIGINT,
            (text->>'finished_at')::TIMESTAMP FROM line""")
    for statement in APPLY:
        serve(client, statement)


def main():
    client = connect()
    serve(client, STAGE)
    # What an `apply` that was killed has left.
    apply(client, [])
    if sys.argv[1:] == ["pending"]:
        for (guid,) in serve(client, PENDING):
            print(guid)
    elif sys.argv[1:] == ["apply"]:
        lines, since = [], time.monotonic()
        for line in sys.stdin:
            lines.append(line)
            if len(lines) >= BATCH or time.monotonic() - since > SECONDS:
                apply(client, lines)
                lines, since = [], time.monotonic()
        apply(client, lines)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
