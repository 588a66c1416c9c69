"""Logs in with libpq, by the URI and the three variables that stand for its files."""

import os
import pathlib
import sys

import psycopg

folder = pathlib.Path(sys.argv[1])
for variable, file in {"PGSSLCERT": "tls.crt", "PGSSLKEY": "tls.key", "PGSSLROOTCERT": "ca.crt"}.items():
    if (folder / file).exists():
        os.environ[variable] = str(folder / file)

with psycopg.connect((folder / "uri").read_text(), connect_timeout=30) as connection:
    print(connection.execute("select current_user").fetchone()[0])
