"""Stands for psql, with the same library.

Without arguments it logs in by the library's variables alone, twice, as a shell does that connects anew, and prints who
it is. Otherwise it takes a database or URL, and statements by --command, --file or its standard input; it prints rows.
"""

import argparse
import sys

import psycopg


def statements(arguments):
    if arguments.command:
        return arguments.command
    if arguments.file:
        with open(arguments.file, encoding="utf-8") as file:
            return [file.read()]
    return [sys.stdin.read()]


if len(sys.argv) == 1:
    for _ in range(2):
        with psycopg.connect("", connect_timeout=30) as connection:
            print(connection.execute("select current_user").fetchone()[0])
else:
    parser = argparse.ArgumentParser()
    parser.add_argument("database", nargs="?", default="")
    parser.add_argument("-d", "--dbname")
    parser.add_argument("-c", "--command", action="append")
    parser.add_argument("-f", "--file")
    arguments = parser.parse_args()
    database = arguments.dbname or arguments.database
    if database and "=" not in database and "://" not in database:
        database = f"dbname={database}"
    with psycopg.connect(database, connect_timeout=30, autocommit=True) as connection:
        for text in statements(arguments):
            cursor = connection.execute(text)
            while True:
                if cursor.description:
                    for row in cursor:
                        print("|".join("" if value is None else str(value) for value in row))
                if not cursor.nextset():
                    break
