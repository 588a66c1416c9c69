"""Stands for mongosh: logs in with PyMongo by a URI and the options for the files."""

import argparse

import pymongo

parser = argparse.ArgumentParser()
parser.add_argument("uri")
parser.add_argument("--tlsCertificateKeyFile")
parser.add_argument("--tlsCAFile")
given = parser.parse_args()
client = pymongo.MongoClient(
    given.uri,
    tlsCertificateKeyFile=given.tlsCertificateKeyFile,
    tlsCAFile=given.tlsCAFile,
    serverSelectionTimeoutMS=10000,
)
status = client.get_default_database("test").command("connectionStatus")
print(status["authInfo"]["authenticatedUsers"][0]["user"])
