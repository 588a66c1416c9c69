"""Logs in to Redshift with redshift_connector and runs statements, by the files in a folder.

`settings` has lines `name=value`, `statements` a statement on each line. Prints what became of each.
"""

import os
import sys

folder = sys.argv[1]
with open(os.path.join(folder, "settings"), encoding="utf-8") as file:
    settings = dict(line.rstrip("\n").split("=", 1) for line in file)
# The driver asks for the machine's own authorities.
os.environ["SSL_CERT_FILE"] = os.path.join(folder, "ca.pem")
for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
    if name in settings:
        os.environ[name] = settings[name]

import redshift_connector  # noqa: E402


def code(error):
    """The SQLSTATE of an error, or what kind it is."""
    fields = error.args[0] if error.args else None
    return fields.get("C") if isinstance(fields, dict) else type(error).__name__ + ": " + str(error)


def login():
    """The connection."""
    common = {
        "host": settings["host"],
        "port": int(settings["port"]),
        "database": settings["database"],
        "ssl": True,
        "sslmode": "verify-full",
        "timeout": 30,
    }
    if "cluster" in settings:
        return redshift_connector.connect(
            iam=True,
            cluster_identifier=settings["cluster"],
            region=settings["region"],
            endpoint_url=settings["endpoint"],
            db_user=settings["user"],
            access_key_id=settings["AWS_ACCESS_KEY_ID"],
            secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
            session_token=settings.get("AWS_SESSION_TOKEN"),
            **common,
        )
    return redshift_connector.connect(user=settings["user"], password=settings["password"], **common)


def text(value):
    """A value as the server would write it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "t" if value else "f"
    return str(value)


try:
    connection = login()
except Exception as error:
    print("login", code(error))
    sys.exit(0)
connection.autocommit = True
with open(os.path.join(folder, "statements"), encoding="utf-8") as file:
    for statement in file.read().splitlines():
        cursor = connection.cursor()
        try:
            cursor.execute(statement)
            if cursor.description is not None:
                for row in cursor.fetchall():
                    print("row", "|".join(text(value) for value in row))
            print("done")
        except redshift_connector.Error as error:
            print("error", code(error))
connection.close()
