#!/usr/bin/env bats
# shellcheck disable=SC2154 # `root` and `probity` come from the file that is loaded
# Logs by syslog: a real rsyslog with the shipped file takes what a real Probity writes, as RFC 5424 messages.

load postgres.bash

setup_file() {
    if [ ! -x /usr/sbin/rsyslogd ]; then
        [ -z "${PROBITY_TEST_REQUIRE_RSYSLOG:-}" ] || { echo "rsyslog is missing: apt-get install rsyslog" >&2; return 1; }
        skip "rsyslog is not installed"
    fi
}

teardown() { [ ! -f "$BATS_TEST_TMPDIR/pid" ] || kill "$(cat "$BATS_TEST_TMPDIR/pid")" 2>/dev/null || true; }

listens() { logger --server 127.0.0.1 --port "$port" --tcp --rfc5424 --octet-count --tag probe hello 2>/dev/null; }
collected() { [ "$(wc -l <"$logs/node-red-status.log" 2>/dev/null || echo 0)" = "$1" ]; }

@test "rsyslog takes RFC 5424 with the shipped file, and keeps each line of Probity's log word for word" {
    logs=$BATS_TEST_TMPDIR/logs
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    sed "s/port=\"6514\"/port=\"$port\" address=\"127.0.0.1\"/; s#/var/log/status#$logs#" "$root/deploy/logs/rsyslog.conf" >"$BATS_TEST_TMPDIR/rsyslog.conf"
    grep -q "port=\"$port\"" "$BATS_TEST_TMPDIR/rsyslog.conf"
    run /usr/sbin/rsyslogd -N1 -f "$root/deploy/logs/rsyslog.conf"
    echo "$output"
    [ "$status" = 0 ]
    /usr/sbin/rsyslogd -n -f "$BATS_TEST_TMPDIR/rsyslog.conf" -i "$BATS_TEST_TMPDIR/pid" >"$BATS_TEST_TMPDIR/said" 2>&1 3>&- &
    until_true listens
    # A log as the container writes it: JSON, a line for each event.
    (cd "$BATS_TEST_TMPDIR" && PROBITY_LOG_FORMAT=json PROBITY_LOG_LEVEL=debug PROBITY_DATABASE_URL=memory: "$probity" evaluate service-level \
        --from 2026-01-01T00:00:00Z --to 2026-01-01T02:00:00Z >/dev/null 2>"$BATS_TEST_TMPDIR/log")
    PROBITY_LOG_FORMAT=json "$probity" serve --listen 192.0.2.1:1 --database-url memory: --data-dir "$BATS_TEST_TMPDIR/data" 2>>"$BATS_TEST_TMPDIR/log" || true
    printf '{"timestamp":"x","level":"INFO","message":"quotes \\" and a ñ"}\n' >>"$BATS_TEST_TMPDIR/log"
    number=$(wc -l <"$BATS_TEST_TMPDIR/log")
    [ "$number" -ge 2 ]
    # As Docker's driver sends it: the container's name as the tag.
    logger --server 127.0.0.1 --port "$port" --tcp --rfc5424 --octet-count --size 64KiB --tag node-red-status --file "$BATS_TEST_TMPDIR/log"
    until_true collected "$number"
    python3 -c '
import json, sys
sent = [line.rstrip("\n") for line in open(sys.argv[1])]
kept = [json.loads(line) for line in open(sys.argv[2])]
assert [k["message"] for k in kept] == sent, (kept, sent)
assert all(k["service"] == "node-red-status" and "T" in k["time"] and k["host"] for k in kept), kept
print(len(kept), "lines")' "$BATS_TEST_TMPDIR/log" "$logs/node-red-status.log"
}

@test "compose sends Probity's logs there in that format, under the container's name" {
    for mode in dev prod; do
        COMPOSE_PROFILES=standalone SYSLOG_ADDRESS=tcp://logs.example.org:6514 "$root/target/tools/bin/docker-compose" \
            --env-file "$root/deploy/.env.example" -f "$root/deploy/compose.base.yml" -f "$root/deploy/compose.$mode.yml" \
            -f "$root/deploy/compose.syslog.yml" config --format json >"$BATS_TEST_TMPDIR/config.json"
        python3 -c '
import json, sys
services = json.load(open(sys.argv[1]))["services"]
for name in ("migrate", "nodered", "governance"):
    logging = services[name]["logging"]
    options = logging["options"]
    assert logging["driver"] == "syslog" and options["syslog-format"] == "rfc5424", logging
    assert options["syslog-address"] == "tcp://logs.example.org:6514" and options["tag"] == "{{.Name}}", logging
    assert "max-size" not in options, logging' "$BATS_TEST_TMPDIR/config.json"
    done
}
