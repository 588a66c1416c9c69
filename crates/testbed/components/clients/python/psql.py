"""Stands for psql: logs in with libpq by its variables alone, twice, as a shell does that connects anew."""

import psycopg

for _ in range(2):
    with psycopg.connect("", connect_timeout=30) as connection:
        print(connection.execute("select current_user").fetchone()[0])
