#!/bin/bash
# Writes the configuration of an API gateway (nginx) from one table: every route, its upstream, and all instances of it.
#
#   deploy/bin/gateway.sh [TABLE]      default: deploy/gateway/routes.tsv; the result goes to standard output
#
# An instance that fails twice is left out for ten seconds, and a call that no instance has received goes to the next
# one: whoever calls sees no error when an instance dies. Calls that may have had an effect are never made twice.
set -euo pipefail

case ${1:-} in
-h | --help)
    sed -n '2,7p' "$0" | sed 's/^# \{0,1\}//'
    exit 0
    ;;
esac
table=${1:-$(dirname "${BASH_SOURCE[0]}")/../gateway/routes.tsv}
[ -r "$table" ] || { echo "gateway.sh: cannot read $table" >&2; exit 2; }

awk '
function refuse(what) { printf "gateway.sh: %s: line %d: %s\n", FILENAME, FNR, what > "/dev/stderr"; failed = 1; exit 2 }
/^[[:space:]]*(#|$)/ { next }
{
    if (NF != 4) refuse("expected four columns (path, service, instances, becomes), found " NF)
    if ($1 !~ /^\/([A-Za-z0-9._~-]+\/)*$/) refuse("the path \"" $1 "\" must begin and end with /")
    if ($2 !~ /^[a-z0-9-]+$/) refuse("the service \"" $2 "\" must be lower-case letters, digits and -")
    if ($1 in path_seen) refuse("the path " $1 " stands twice")
    if ($2 in service_seen) refuse("the service " $2 " stands twice")
    if ($4 != "-" && $4 !~ /^\//) refuse("\"" $4 "\" must be - or begin with /")
    count = split($3, instance, ",")
    for (i = 1; i <= count; i++)
        if (instance[i] !~ /^[A-Za-z0-9.-]+:[0-9]+$/) refuse("the instance \"" instance[i] "\" must be host:port")
    path_seen[$1]; service_seen[$2]
    path[++n] = $1; service[n] = $2; instances[n] = $3; becomes[n] = $4
}
END {
    if (failed) exit 2
    if (n == 0) { print "gateway.sh: the table has no routes" > "/dev/stderr"; exit 2 }
    print "# Written by deploy/bin/gateway.sh from routes.tsv: change that, not this."
    print "worker_processes auto;\npid /tmp/nginx.pid;\nerror_log /dev/stderr warn;\n"
    print "events { worker_connections 4096; }\n"
    print "http {"
    print "    log_format plain \x27$remote_addr $time_iso8601 \"$request_method $uri\" $status $request_time $upstream_addr\x27;"
    print "    access_log /dev/stdout plain;"
    print "    client_body_temp_path /tmp/client;\n    proxy_temp_path /tmp/proxy;\n    fastcgi_temp_path /tmp/fastcgi;"
    print "    uwsgi_temp_path /tmp/uwsgi;\n    scgi_temp_path /tmp/scgi;"
    print "    server_tokens off;\n    client_max_body_size 50m;\n    client_header_timeout 15s;\n    client_body_timeout 60s;\n"
    print "    map $http_upgrade $connection_upgrade { default upgrade; \x27\x27 \x27\x27; }\n"
    print "    proxy_http_version 1.1;\n    proxy_set_header Host $http_host;"
    print "    proxy_set_header X-Real-IP $remote_addr;"
    print "    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
    print "    proxy_set_header X-Forwarded-Proto $scheme;"
    print "    proxy_set_header Upgrade $http_upgrade;\n    proxy_set_header Connection $connection_upgrade;"
    print "    proxy_next_upstream error timeout;\n    proxy_connect_timeout 3s;\n    proxy_read_timeout 60s;\n"
    print "    resolver 127.0.0.11 valid=10s ipv6=off;"
    for (r = 1; r <= n; r++) {
        printf "\n    upstream %s {\n        zone %s 64k;\n", service[r], service[r]
        count = split(instances[r], instance, ",")
        for (i = 1; i <= count; i++)
            printf "        server %s resolve max_fails=2 fail_timeout=10s;\n", instance[i]
        print "        keepalive 16;\n    }"
    }
    print "\n    server {\n        listen 8080;\n"
    print "        location = /gateway-health { access_log off; return 200 \"ok\\n\"; }"
    for (r = 1; r <= n; r++)
        printf "        location %s { proxy_pass http://%s%s; }\n", path[r], service[r], (becomes[r] == "-" ? "" : becomes[r])
    print "    }\n}"
}' "$table"
