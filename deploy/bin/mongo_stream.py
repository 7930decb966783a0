#!/usr/bin/python3
"""All databases of a MongoDB as one stream, and back, with a check of every document; for backup_mongo.sh and
restore_mongo.sh. Needs pymongo (Debian: python3-pymongo). The server is that of BACKUP_MONGO_URI.

  mongo_stream.py dump                    to standard output; what it holds is said on standard error
  mongo_stream.py restore SUFFIX          from standard input into databases called DATABASE + SUFFIX, which must be new;
                                          then read again and compared
  mongo_stream.py swap SUFFIX BEFORE      collections of those take the places of the old ones, which become those of
                                          DATABASE + BEFORE
  mongo_stream.py unpack FOLDER           from standard input into FOLDER/DATABASE/COLLECTION.bson and .metadata.json, as
                                          mongodump has them and mongorestore reads them; needs no server

A line of JSON for each collection, its documents as BSON until a length of 0, a line with their number and a sum of their
hashes that does not depend on their order. Users are not in it: the server's image makes them from its environment.
"""
import hashlib
import json
import os
import pathlib
import struct
import sys

from bson import json_util
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

OWN = {"admin", "config", "local"}
HEAD = {"probity_mongo_backup": 1}
RAW = CodecOptions(document_class=RawBSONDocument)
BATCH_BYTES = 8 << 20


def fail(text):
    print(f"mongo_stream.py: {text}", file=sys.stderr)
    sys.exit(1)


def connect():
    import pymongo

    return pymongo.MongoClient(os.environ["BACKUP_MONGO_URI"], serverSelectionTimeoutMS=10000)


class Sum:
    """How many documents, and what they are, whatever their order."""

    def __init__(self):
        self.count, self.hash = 0, 0

    def add(self, raw):
        self.count += 1
        self.hash = (self.hash + int.from_bytes(hashlib.sha256(raw).digest()[:16], "big")) % (1 << 128)

    def told(self):
        return {"documents": self.count, "hash": f"{self.hash:032x}"}


def indexes_of(collection):
    """As they are made again; the one of _id is there by itself."""
    known = [dict(index) for index in collection.list_indexes()]
    for index in known:
        index.pop("ns", None)
    return sorted((i for i in known if i["name"] != "_id_"), key=lambda i: i["name"])


def line(value):
    return json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS).encode() + b"\n"


def dump():
    client, out = connect(), sys.stdout.buffer
    out.write(line(HEAD))
    number = 0
    for database in sorted(set(client.list_database_names()) - OWN):
        for about in sorted(client[database].list_collections(), key=lambda a: (a.get("type") == "view", a["name"])):
            if about["name"].startswith("system."):
                continue
            is_view = about.get("type") == "view"
            collection = client[database].get_collection(about["name"], codec_options=RAW)
            indexes = [] if is_view else indexes_of(client[database][about["name"]])
            head = {"database": database, "collection": about["name"], "options": about.get("options", {})}
            out.write(line({**head, "view": is_view, "indexes": indexes}))
            total = Sum()
            for document in [] if is_view else collection.find():
                total.add(document.raw)
                out.write(document.raw)
            out.write(struct.pack("<i", 0))
            out.write(line(total.told()))
            print(f"{database}.{about['name']}: {total.count} documents", file=sys.stderr)
            number += 1
    out.write(line({"end": number}))
    out.flush()


def exactly(stream, size):
    data = stream.read(size)
    if len(data) != size:
        fail("the backup ends too early")
    return data


def collections(stream):
    """What the stream holds: for each collection its head and its documents; the sums are compared on the way."""
    if json.loads(stream.readline() or b"{}") != {"probity_mongo_backup": {"$numberInt": "1"}}:
        fail("this is no backup of backup_mongo.sh")
    number = 0
    while True:
        text = stream.readline()
        head = json_util.loads(text.decode()) if text else fail("the backup ends too early")
        if "end" in head:
            if head["end"] != number:
                fail(f"the backup holds {number} collections, and says {head['end']}")
            return
        total = Sum()

        def documents():
            while True:
                length = struct.unpack("<i", exactly(stream, 4))[0]
                if length == 0:
                    return
                raw = struct.pack("<i", length) + exactly(stream, length - 4)
                total.add(raw)
                yield raw

        yield head, documents()
        said = json_util.loads(stream.readline().decode())
        if said != total.told():
            fail(f"{head['database']}.{head['collection']}: {total.told()} are not what was written: {said}")
        number += 1


def insert(collection, documents):
    batch, size = [], 0
    for raw in documents:
        batch.append(RawBSONDocument(raw))
        size += len(raw)
        if size > BATCH_BYTES or len(batch) == 1000:
            collection.insert_many(batch, ordered=True, bypass_document_validation=True)
            batch, size = [], 0
    if batch:
        collection.insert_many(batch, ordered=True, bypass_document_validation=True)


def restore(suffix):
    client = connect()
    taken = [name for name in client.list_database_names() if name.endswith(suffix)]
    if taken:
        fail(f"{taken[0]} exists already")
    held = []
    for head, documents in collections(sys.stdin.buffer):
        database, name = client[head["database"] + suffix], head["collection"]
        database.command("create", name, **head["options"])
        total = Sum()

        def counted():
            for raw in documents:
                total.add(raw)
                yield raw

        insert(database.get_collection(name, codec_options=RAW), counted())
        if head["indexes"]:
            database.command("createIndexes", name, indexes=head["indexes"])
        held.append((head, total.told()))
    for head, told in held:
        database = client[head["database"] + suffix]
        again = Sum()
        if not head["view"]:
            for document in database.get_collection(head["collection"], codec_options=RAW).find():
                again.add(document.raw)
            if indexes_of(database[head["collection"]]) != head["indexes"]:
                fail(f"{database.name}.{head['collection']}: its indexes are others than those of the backup")
        if again.told() != told:
            fail(f"{database.name}.{head['collection']}: {again.told()} are not those of the backup: {told}")
        print(f"{database.name}.{head['collection']}: {told['documents']} documents, as in the backup")


def swap(suffix, before):
    client = connect()
    for restored in [name for name in client.list_database_names() if name.endswith(suffix)]:
        name = restored[: -len(suffix)]
        for here, there in ((name, name + before), (restored, name)):
            for about in list(client[here].list_collections()):
                if about.get("type") == "view":
                    client[there].command("create", about["name"], **about["options"])
                    client[here].drop_collection(about["name"])
                elif not about["name"].startswith("system."):
                    full = f"{here}.{about['name']}"
                    client.admin.command("renameCollection", full, to=f"{there}.{about['name']}")
        client.drop_database(restored)
        print(f"{name}: as in the backup; what was there is {name}{before}")


def unpack(folder):
    for head, documents in collections(sys.stdin.buffer):
        place = pathlib.Path(folder) / head["database"]
        place.mkdir(parents=True, exist_ok=True)
        with (place / f"{head['collection']}.bson").open("wb") as file:
            for raw in documents:
                file.write(raw)
        about = {"options": head["options"], "indexes": head["indexes"], "collectionName": head["collection"]}
        (place / f"{head['collection']}.metadata.json").write_bytes(line(about))


def main(words):
    commands = {"dump": (dump, 0), "restore": (restore, 1), "swap": (swap, 2), "unpack": (unpack, 1)}
    known, number = commands.get(words[0] if words else "", (None, 0))
    if known is None or len(words) != number + 1:
        print(__doc__.strip(), file=sys.stderr)
        sys.exit(0 if words in (["-h"], ["--help"]) else 2)
    try:
        known(*words[1:])
    except OSError as error:
        fail(error)
    except Exception as error:  # of the driver: one line, without the address, which holds a password
        if type(error).__module__.split(".")[0] not in ("pymongo", "bson"):
            raise
        fail(f"{type(error).__name__}: {str(error).splitlines()[0][:300]}")


main(sys.argv[1:])
