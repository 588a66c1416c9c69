"""Logs in with PyMongo, by the URI and two of the files."""

import pathlib
import sys

import pymongo

folder = pathlib.Path(sys.argv[1])
client = pymongo.MongoClient(
    (folder / "uri").read_text(),
    tlsCertificateKeyFile=str(folder / "tls.pem"),
    tlsCAFile=str(folder / "ca.crt"),
    serverSelectionTimeoutMS=10000,
)
database = client.get_database((folder / "database").read_text())
print(database.command("connectionStatus")["authInfo"]["authenticatedUsers"][0]["user"])
