#!/usr/bin/env bats
# shellcheck disable=SC2154,SC2016 # `bin` and `root` come from the file that is loaded; texts for Python
# What is kept beside Postgres: a real MongoDB and a database as Grafana has one are backed up while somebody writes to them,
# lost, and restored as they were.

load postgres.bash

# A program of the server, or skipped where there is none; tests/all installs it.
mongod() {
    printf '%s\n' "${PROBITY_TEST_MONGOD:-}" "$root"/target/tools/lib/python3*/site-packages/fiftyone/db/bin/mongod | while read -r path; do
        [ ! -x "$path" ] || { printf '%s' "$path" && break; }
    done
}

missing() {
    [ -z "${PROBITY_TEST_REQUIRE_MONGOD:-}" ] || { echo "$1" >&2; return 1; }
    skip "$1"
}

setup_file() {
    FOLDER=$(mktemp -d)
    export FOLDER
    BACKUP_AGE_RECIPIENT=$(make_key "$FOLDER/key.txt")
    export BACKUP_AGE_RECIPIENT BACKUP_AGE_IDENTITY=$FOLDER/key.txt
}

teardown_file() { rm -rf "$FOLDER"; }

setup() {
    export BACKUP_DIR=$BATS_TEST_TMPDIR/backups GRAFANA_DATA=$BATS_TEST_TMPDIR/grafana
    mkdir "$BACKUP_DIR"
}

teardown() { [ -z "${MONGO_PID:-}" ] || kill -9 "$MONGO_PID" 2>/dev/null || true; }

# A server with a login, whose data is in a new folder; the first free port.
start_mongo() {
    local program
    program=$(mongod)
    [ -n "$program" ] || missing "no mongod: tests/all installs it"
    /usr/bin/python3 -c 'import pymongo' 2>/dev/null || missing "no pymongo: apt-get install python3-pymongo"
    mkdir "$BATS_TEST_TMPDIR/mongo"
    MONGO_PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    "$program" --dbpath "$BATS_TEST_TMPDIR/mongo" --bind_ip 127.0.0.1 --port "$MONGO_PORT" --nounixsocket --auth \
        --wiredTigerCacheSizeGB 0.25 --logpath "$BATS_TEST_TMPDIR/mongo.log" >/dev/null 2>&1 3>&- &
    MONGO_PID=$!
    export BACKUP_MONGO_URI="mongodb://registry:s3cret-of-24-letters-long@127.0.0.1:$MONGO_PORT"
    on_mongo_without_login 'client.admin.command("createUser", "registry", pwd="s3cret-of-24-letters-long", roles=["root"])'
}

python() {
    /usr/bin/python3 -c "
import os, pymongo, datetime, bson
client = pymongo.MongoClient($1, serverSelectionTimeoutMS=60000)
$2"
}
on_mongo() { python 'os.environ["BACKUP_MONGO_URI"]' "$1"; }
on_mongo_without_login() { python "'mongodb://127.0.0.1:$MONGO_PORT'" "$1"; }

# What STATUS keeps there, and what is easily lost: types, order of members, an index, a view, an empty collection.
fill() {
    on_mongo '
agreements = client["registry"]["agreements"]
agreements.insert_many([{"_id": f"a{n}", "z": n, "a": bson.Int64(n), "d": bson.Decimal128("0.10"), "at": datetime.datetime(2026, 1, 1), "deep": {"b": [1, 2.5, None], "é": "ñ"}} for n in range(2500)])
agreements.create_index([("z", -1), ("deep.b", 1)], name="by_z", unique=True)
client["registry"].create_collection("empty", validator={"kind": {"$exists": True}})
client["registry"].command("create", "latest", viewOn="agreements", pipeline=[{"$sort": {"z": -1}}])
client["logs"]["entries"].insert_one({"_id": bson.ObjectId("65a000000000000000000001"), "text": "x" * 100000})'
}

# Everything of a database, in one line each.
content() {
    on_mongo "
for name in sorted(client['$1'].list_collection_names()):
    if name.startswith('system.'): continue
    rows = sorted(bson.encode(d) for d in client['$1'][name].find())
    import hashlib
    view = name == 'latest'
    print(name, len(rows), hashlib.sha256(b''.join(rows)).hexdigest(), [] if view else sorted((i['name'], list(i['key'].items()), i.get('unique')) for i in client['$1'][name].list_indexes()))"
}

newest() { find "$BACKUP_DIR" -name "$1_backup_*" ! -name '*.sha256' | sort | tail -n 1; }

@test "a MongoDB comes back document by document, beside the one that runs, and in its place" {
    start_mongo
    fill
    before=$(content registry)
    run "$bin/backup_mongo.sh"
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"4 collections, 2501 documents"* ]]
    file=$(newest mongo)
    [[ $file =~ /mongo_backup_[0-9]{14}\.bson\.gz\.age$ ]]
    [ "$(stat -c %a "$file")" = 600 ]
    [[ $output != *s3cret* ]]
    # Something is lost and something is changed.
    on_mongo 'client["registry"]["agreements"].delete_many({"z": {"$gt": 5}}); client["registry"]["agreements"].update_one({"_id": "a1"}, {"$set": {"z": 99}}); client.drop_database("logs")'
    run "$bin/restore_mongo.sh" "$file"
    echo "$output"
    [ "$status" = 0 ]
    taken=$(basename "$file" | tr -dc '0-9')
    [ "$(content "registry_restored_$taken")" = "$before" ]
    [ "$(content registry)" != "$before" ]
    # Twice into the same names is refused.
    run "$bin/restore_mongo.sh" "$file"
    [ "$status" = 1 ]
    [[ $output == *"exists already"* ]]
    on_mongo "client.drop_database('registry_restored_$taken'); client.drop_database('logs_restored_$taken')"
    run "$bin/restore_mongo.sh" "$file" --in-place
    echo "$output"
    [ "$status" = 0 ]
    [ "$(content registry)" = "$before" ]
    [[ $(content logs) == "entries 1 "* ]]
    # What was there is kept.
    kept=$(on_mongo 'print([n for n in client.list_database_names() if "_before_" in n][0])')
    [[ $(content "$kept") == *"agreements 6 "* ]]
    # As files that MongoDB's own tools read.
    "$bin/restore_mongo.sh" "$file" --unpack "$BATS_TEST_TMPDIR/files"
    [ "$(python3 -c 'import sys; sys.path.append("/usr/lib/python3/dist-packages"); import bson; print(len(bson.decode_all(open(sys.argv[1], "rb").read())))' "$BATS_TEST_TMPDIR/files/registry/agreements.bson")" = 2500 ]
    grep -q '"by_z"' "$BATS_TEST_TMPDIR/files/registry/agreements.metadata.json"
}

@test "a MongoDB that is away or refuses the login leaves nothing behind and shows no password" {
    start_mongo
    BACKUP_MONGO_URI=${BACKUP_MONGO_URI/s3cret/wr0ng} run "$bin/backup_mongo.sh"
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"MongoDB was not backed up"*"Authentication failed"* ]]
    [[ $output != *wr0ng* ]]
    [ -z "$(find "$BACKUP_DIR" -name '*mongo*')" ]
    # One that was cut off is no backup, even with a checksum of its own.
    fill
    "$bin/backup_mongo.sh" >/dev/null
    file=$(newest mongo)
    age --decrypt --identity "$BACKUP_AGE_IDENTITY" "$file" | gzip -dc | head -c 200000 | gzip >"$BACKUP_DIR/mongo_backup_20260101000000.bson.gz"
    (cd "$BACKUP_DIR" && sha256sum mongo_backup_20260101000000.bson.gz >mongo_backup_20260101000000.bson.gz.sha256)
    run "$bin/restore_mongo.sh" "$BACKUP_DIR/mongo_backup_20260101000000.bson.gz" --in-place
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"ends too early"* ]]
    [[ $(content registry) == *"agreements 2500 "* ]]
}

# As Grafana's: a database of SQLite to which somebody writes all the while.
@test "Grafana's database is copied while it is written to, and comes back whole" {
    mkdir "$GRAFANA_DATA"
    sqlite3 "$GRAFANA_DATA/grafana.db" "CREATE TABLE user (id INTEGER PRIMARY KEY, login TEXT); CREATE TABLE api_key (id INTEGER PRIMARY KEY, name TEXT);
        INSERT INTO user (login) VALUES ('admin'), ('ana'); INSERT INTO api_key (name) VALUES ('status-system');"
    python3 - "$GRAFANA_DATA/grafana.db" 3>&- <<'WRITER' &
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
n = 0
while True:
    n += 1
    # Both or neither: what a copy of a moment must show.
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO user (login) VALUES (?)", (f"user {n}",))
    db.execute("INSERT INTO api_key (name) VALUES (?)", (f"user {n}",))
    db.execute("COMMIT")
WRITER
    writer=$!
    run "$bin/backup_grafana.sh"
    echo "$output"
    kill -9 "$writer"
    [ "$status" = 0 ]
    file=$(newest grafana)
    [[ $file =~ /grafana_backup_[0-9]{14}\.db\.gz\.age$ ]]
    "$bin/restore_grafana.sh" "$file" --into "$BATS_TEST_TMPDIR/copy.db"
    [ "$(sqlite3 "$BATS_TEST_TMPDIR/copy.db" 'SELECT (SELECT count(*) FROM user) - (SELECT count(*) FROM api_key)')" = 1 ]
    [ "$(sqlite3 "$BATS_TEST_TMPDIR/copy.db" "SELECT login FROM user WHERE id = 2")" = ana ]
    # Lost, and restored in place; what is there is kept.
    sqlite3 "$GRAFANA_DATA/grafana.db" 'DELETE FROM user'
    "$bin/restore_grafana.sh" "$file" --in-place
    cmp "$GRAFANA_DATA/grafana.db" "$BATS_TEST_TMPDIR/copy.db"
    [ "$(stat -c %a "$GRAFANA_DATA/grafana.db")" = 660 ]
    [ "$(sqlite3 "$(find "$GRAFANA_DATA" -name 'grafana.db.before-*' ! -name '*-journal')" 'SELECT count(*) FROM user')" = 0 ]
}

@test "a database of Grafana that is in use is not replaced" {
    mkdir "$GRAFANA_DATA"
    sqlite3 "$GRAFANA_DATA/grafana.db" "CREATE TABLE user (id INTEGER PRIMARY KEY)"
    "$bin/backup_grafana.sh" >/dev/null
    coproc HOLDER { sqlite3 "$GRAFANA_DATA/grafana.db" 3>&-; }
    printf 'BEGIN EXCLUSIVE;\n.print held\n' >&"${HOLDER[1]}"
    read -r _ <&"${HOLDER[0]}"
    run "$bin/restore_grafana.sh" "$(newest grafana)" --in-place
    echo "$output"
    kill "$HOLDER_PID"
    [ "$status" = 1 ]
    [[ $output == *"is in use; stop Grafana first"* ]]
    [ -z "$(find "$GRAFANA_DATA" -name '*before*' -o -name '*restored*')" ]
}

@test "the daily run has them, where they are: MongoDB by the profile, Grafana by its folder" {
    mkdir "$GRAFANA_DATA" "$BATS_TEST_TMPDIR/fake"
    cp "$bin/backup_volumes.sh" "$bin/backup_files.sh" "$BATS_TEST_TMPDIR/fake"
    for script in backup_mongo.sh backup_grafana.sh; do
        printf '#!/bin/bash\necho %s\n[ ! -e "%s/fails" ]\n' "$script" "$BATS_TEST_TMPDIR" >"$BATS_TEST_TMPDIR/fake/$script"
        chmod +x "$BATS_TEST_TMPDIR/fake/$script"
    done
    BACKUP_PROFILES=governify,backup run "$BATS_TEST_TMPDIR/fake/backup_volumes.sh"
    [ "$output" = $'backup_mongo.sh\nbackup_grafana.sh' ]
    BACKUP_PROFILES=standalone,backup run "$BATS_TEST_TMPDIR/fake/backup_volumes.sh"
    [ "$output" = backup_grafana.sh ]
    BACKUP_MONGO=yes GRAFANA_DATA=$BATS_TEST_TMPDIR/none run "$BATS_TEST_TMPDIR/fake/backup_volumes.sh"
    [ "$output" = backup_mongo.sh ]
    # One that fails is a failed run, and keeps the other from nothing.
    touch "$BATS_TEST_TMPDIR/fails"
    BACKUP_PROFILES=governify run "$BATS_TEST_TMPDIR/fake/backup_volumes.sh"
    [ "$status" = 1 ]
    [ "$output" = $'backup_mongo.sh\nbackup_grafana.sh' ]
    grep -q 'backup_volumes.sh' "$bin/backup_schedule.sh"
    grep -q 'backup_volumes.sh' "$root/deploy/backup/crontab"
    # The image has what they need.
    for word in python3-pymongo sqlite3 backup_volumes.sh backup_mongo.sh mongo_stream.py backup_grafana.sh; do grep -q "$word" "$root/deploy/backup/Dockerfile"; done
}
