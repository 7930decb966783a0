#!/usr/bin/env bats
# shellcheck disable=SC2016,SC2154 # texts for other programs; `deploy` and `root` come from the file that is loaded
# setup.sh with a fake docker command: what it writes, what it never shows, and that a second run changes nothing.

load fakes.bash

setup() {
    surroundings
    start_services
    # Ports of the deployment that this machine happens to use for something else are not what is tested here.
    sed -i 's/^#PROXY_PORT=.*/PROXY_PORT=48211/' "$deploy/.env.example"
}

teardown() { stop_services; }

secrets='PASS_STATUS JWT_SECRET REFRESH_JWT_SECRET DB_PASSWORD PROBITY_DB_PASSWORD GRAFANA_DB_PASSWORD MONGOPASS REPLICATION_PASSWORD NATS_PASSWORD'

@test "a first run writes secrets that are some, shows none, and ends with everything running" {
    run "$deploy/setup.sh" --non-interactive
    echo "$output"
    [ "$status" = 0 ]
    [ "$(stat -c %a "$deploy/.env")" = 600 ]
    for name in $secrets; do
        value=$(setting "$name")
        [[ $value =~ ^[0-9a-f]{48}$ ]]
        [[ $output != *"$value"* ]]
        grep -qF "$value" <(cat "$FAKE/calls" "$FAKE/asked") && return 1
    done
    # Each its own.
    [ "$(for name in $secrets; do setting "$name"; done | sort -u | wc -l)" = 9 ]
    [[ $(setting GRAFANA_API_KEY) == glsa_* ]]
    [[ $output != *glsa_* ]]
    [ "$(setting DEPLOY_MODE)" = prod ]
    [[ $output == *"user admin can log in"* ]]
    [[ $output == *"its password is PASS_STATUS in "* ]]
    [ -e "$FAKE/populated" ]
    # status-backend was started again, since its environment changed.
    grep -q '^compose up --detach --wait status-backend$' "$FAKE/calls"
}

@test "the files that containers read are made, too: Prometheus's token with its hash, and Probity's secrets" {
    run "$deploy/setup.sh" --non-interactive --no-start
    echo "$output"
    [ "$status" = 0 ]
    token=$(<"$deploy/secrets/metrics_token")
    [[ $token =~ ^[0-9a-f]{48}$ ]]
    [ "$(setting PROBITY_AUTH_TOKENS)" = "prometheus=$(printf %s "$token" | sha256sum | cut -d ' ' -f 1)" ]
    [[ $output != *"$token"* ]]
    [ "$(stat -c %a "$deploy/secrets")" = 700 ]
    [ "$(<"$deploy/secrets/probity/database_password")" = "$(setting PROBITY_DB_PASSWORD)" ]
    [ "$(<"$deploy/secrets/probity/pass_status")" = "$(setting PASS_STATUS)" ]
    [ "$(<"$deploy/secrets/probity/jwt_secret")" = "$(setting JWT_SECRET)" ]
    # A token of somebody else stays, and a password that changes is written again, and it alone.
    sed -i 's/^PROBITY_AUTH_TOKENS=/&ana=0123,/; s/^PROBITY_DB_PASSWORD=.*/PROBITY_DB_PASSWORD=another-one-of-24-letters/' "$deploy/.env"
    run "$deploy/setup.sh" --non-interactive --no-start
    [ "$status" = 0 ]
    [[ $output == *"1 of 3 files of secrets written"* ]]
    [[ $(setting PROBITY_AUTH_TOKENS) == ana=0123,prometheus=* ]]
    [ "$(<"$deploy/secrets/probity/database_password")" = another-one-of-24-letters ]
}

@test "with compose.secrets.yml no secret of Probity is in its environment, and each file it names is there" {
    "$deploy/setup.sh" --non-interactive --no-start --profile standalone >/dev/null
    for mode in dev prod; do
        "$root/target/tools/bin/docker-compose" --env-file "$deploy/.env" -f "$deploy/compose.base.yml" -f "$deploy/compose.$mode.yml" \
            -f "$deploy/compose.secrets.yml" config --format json >"$BATS_TEST_TMPDIR/config.json"
        # shellcheck disable=SC2016 # Python's
        run python3 - "$BATS_TEST_TMPDIR/config.json" "$deploy" <<<'
import json, os, sys
services = json.load(open(sys.argv[1]))["services"]
files = 0
for name in ("nodered", "governance"):
    service = services[name]
    mounts = {m["target"]: m["source"] for m in service["volumes"]}
    for key, text in service["environment"].items():
        for secret in ("PASS_STATUS", "PROBITY_DB_PASSWORD", "JWT_SECRET"):
            value = next(l.split("=", 1)[1].strip() for l in open(sys.argv[2] + "/.env") if l.startswith(secret + "="))
            assert value not in text, (name, key)
        if key.endswith("_FILE"):
            folder, _, file = text.rpartition("/")
            assert os.path.getsize(mounts[folder] + "/" + file) > 10, (name, key, text)
            files += 1
print(files, "files")'
        echo "$output"
        [ "$status" = 0 ]
        [ "$output" = "4 files" ]
    done
}

@test "a second run changes nothing" {
    "$deploy/setup.sh" --non-interactive >/dev/null
    before=$(everything)
    populated=$(grep -c populate "$FAKE/calls")
    run "$deploy/setup.sh" --non-interactive
    echo "$output"
    [ "$status" = 0 ]
    [ "$(everything)" = "$before" ]
    [ "$(grep -c populate "$FAKE/calls")" = "$populated" ]
    [ "$(grep -c 'up --detach --wait status-backend$' "$FAKE/calls")" = 1 ]
    [[ $output == *"Grafana knows the service account's token"* ]]
}

@test "JWT_SECRET=secret and every shipped default is refused by name, and nothing else starts" {
    "$deploy/setup.sh" --non-interactive --no-start >/dev/null
    sed -i 's/^JWT_SECRET=.*/JWT_SECRET=secret/; s/^DB_PASSWORD=.*/DB_PASSWORD=statuspass/; s/^MONGOPASS=.*/MONGOPASS=root/; s/^PASS_STATUS=.*/PASS_STATUS=admin123/' "$deploy/.env"
    run "$deploy/setup.sh" --non-interactive
    echo "$output"
    [ "$status" = 1 ]
    for name in JWT_SECRET DB_PASSWORD MONGOPASS PASS_STATUS; do [[ $output == *"$name is one that everybody knows"* ]]; done
    [[ $output != *"REFRESH_JWT_SECRET is"* ]]
    [[ $output != *statuspass* ]]
    [ ! -e "$FAKE/running" ]
}

@test "an environment file of STATUS is taken over: what it has stays, what it lacks is made" {
    umask 022
    cat >"$deploy/.env" <<'ENV'
JWT_SECRET=a good secret of ours, 24+
DB_PASSWORD='pa$ word # 123456789'
GH_CLIENT_ID=gh
PASS_STATUS=typed by somebody
USER_STATUS=ana
ENV
    run "$deploy/setup.sh" --non-interactive --no-start
    [ "$status" = 0 ]
    [ "$(setting JWT_SECRET)" = 'a good secret of ours, 24+' ]
    [ "$(setting DB_PASSWORD)" = "'pa\$ word # 123456789'" ]
    [ "$(setting USER_STATUS)" = ana ]
    [[ $(setting PROBITY_DB_PASSWORD) =~ ^[0-9a-f]{48}$ ]]
    [ "$(setting DB_HOST)" = postgres ]
    [ "$(stat -c %a "$deploy/.env")" = 600 ]
    [ "$(value_by_compose DB_PASSWORD)" = 'pa$ word # 123456789' ]
}

# As the job `migrate` gets it; Compose prints a dollar twice.
value_by_compose() {
    docker compose --env-file "$deploy/.env" -f "$deploy/compose.base.yml" -f "$deploy/compose.prod.yml" config --format json |
        python3 -c 'import json, sys
print(json.load(sys.stdin)["services"]["migrate"]["environment"][sys.argv[1]].replace("$$", "$"))' "$1"
}

@test "it asks for mode, user and password; the password is not shown" {
    run env SETUP_ASK=yes bash -c 'printf "prod\nana\nwith spaces \$1\nwith spaces \$1\n" | "$deploy/setup.sh" --no-start'
    echo "$output"
    [ "$status" = 0 ]
    [ "$(setting USER_STATUS)" = ana ]
    [ "$(setting PASS_STATUS)" = "'with spaces \$1'" ]
    [[ $output != *"with spaces"* ]]
    rm "$deploy/.env"
    run env SETUP_ASK=yes bash -c 'printf "prod\nana\nfirst one\nsecond one\n" | "$deploy/setup.sh" --no-start'
    [ "$status" = 2 ]
    [[ $output == *"the passwords differ"* ]]
}

@test "a token that Grafana does not know any more is replaced" {
    "$deploy/setup.sh" --non-interactive >/dev/null
    before=$(setting GRAFANA_API_KEY)
    echo '{"accounts": [{"id": 40, "name": "status-system"}], "tokens": {}}' >"$FAKE/grafana.json"
    run "$deploy/setup.sh" --non-interactive
    [ "$status" = 0 ]
    [ "$(setting GRAFANA_API_KEY)" != "$before" ]
    # The account that was there is used.
    [ "$(grep -o '"id"' "$FAKE/grafana.json" | wc -l)" = 1 ]
}

@test "a password with quotes that somebody wrote into the file gets through" {
    printf 'PASS_STATUS=%s' 'say "hi" and \\o/ twice' >"$deploy/.env"
    run "$deploy/setup.sh" --non-interactive
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"a token of Grafana's service account"* ]]
}

@test "profiles and the key of backups are kept together" {
    "$deploy/setup.sh" --non-interactive --no-start --backup-recipient age1qqqq >/dev/null
    [ "$(setting COMPOSE_PROFILES)" = governify,backup ]
    [ "$(setting BACKUP_AGE_RECIPIENT)" = age1qqqq ]
    "$deploy/setup.sh" --non-interactive --no-start --profile standalone >/dev/null
    [ "$(setting COMPOSE_PROFILES)" = standalone,backup ]
}

@test "in development the folder of flows is there before Docker would make it root's" {
    run "$deploy/setup.sh" dev --non-interactive --no-start
    [ "$status" = 0 ]
    [ -d "$deploy/node-red-status" ]
    if [ "$(id -u)" = 0 ]; then [ "$(stat -c %u "$deploy/node-red-status")" = 1000 ]; fi
}

@test "a development build that fails says what to look at, and nothing is started" {
    # The sources that preflight looks for.
    mkdir -p "$BATS_TEST_TMPDIR/backend" "$BATS_TEST_TMPDIR/frontend"
    touch "$BATS_TEST_TMPDIR/backend/Dockerfile" "$BATS_TEST_TMPDIR/frontend/Dockerfile"
    cat >"$deploy/.env" <<ENV
STATUS_BACKEND_SOURCE=$BATS_TEST_TMPDIR/backend
STATUS_FRONTEND_SOURCE=$BATS_TEST_TMPDIR/frontend
ENV
    port=48300
    for name in PROBITY GRAFANA BACKEND FRONTEND REGISTRY DIRECTOR POSTGRES MONGO DRAGONFLY_HOST; do
        port=$((port + 1))
        echo "${name}_PORT=$port" >>"$deploy/.env"
    done
    touch "$FAKE/build-fails"
    run "$deploy/setup.sh" dev --non-interactive
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"exit code: 1"*"an image cannot be built, and nothing was started"*"docker builder prune"* ]]
    [ ! -e "$FAKE/running" ]
    rm "$FAKE/build-fails"
    run "$deploy/setup.sh" dev --non-interactive
    echo "$output"
    [ "$status" = 0 ]
    grep -q '^compose build$' "$FAKE/calls"
}

@test "wrong arguments are named" {
    for arguments in "--mode prod" "--profile other" "--user" "--backup-recipient secret-key"; do
        # shellcheck disable=SC2086 # words
        run "$deploy/setup.sh" --non-interactive --no-start $arguments
        [ "$status" = 2 ]
        [[ $output == *setup.sh:* ]]
    done
}

@test "the users of the example data are locked, and the operator's made, in status-backend's own words" {
    command -v node >/dev/null || skip "node is not installed"
    app=$BATS_TEST_TMPDIR/app
    mkdir -p "$app/src/models" "$app/src/db" "$app/node_modules/bcrypt"
    # Fakes of its modules: users in memory, hashes that can be read.
    echo 'export default { hash: async (t, n) => `hash${n}:${t}`, compare: async (t, h) => h.endsWith(`:${t}`) };' >"$app/node_modules/bcrypt/index.mjs"
    echo '{"name": "bcrypt", "exports": "./index.mjs"}' >"$app/node_modules/bcrypt/package.json"
    echo 'export const sequelize = { close: async () => {} };' >"$app/src/db/database.js"
    cat >"$app/src/models/models.js" <<'MODELS'
import fs from 'node:fs';
const rows = JSON.parse(fs.readFileSync('users.json'));
const save = () => fs.writeFileSync('users.json', JSON.stringify(rows));
const row = (r) => r && { ...r, update: async (c) => { Object.assign(r, c); save(); } };
export const models = { User: {
  findOne: async ({ where }) => row(rows.find((r) => r.username === where.username)),
  findOrCreate: async ({ where, defaults }) => {
    const known = rows.find((r) => r.username === where.username);
    if (known) return [row(known), false];
    rows.push(defaults); save(); return [row(defaults), true];
  } } };
MODELS
    echo '{"type": "module"}' >"$app/package.json"
    echo '[{"username":"admin","password":"hash10:admin123"},{"username":"developer","password":"hash10:dev123"},{"username":"user","password":"hash10:changed"}]' >"$app/users.json"
    cd "$app"
    USER_STATUS=admin PASS_STATUS='our own' run node --input-type=module - <"$deploy/status-backend/first_user.mjs"
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"user admin: has the password of the environment now"* ]]
    [[ $output == *"user developer: locked"* ]]
    [[ $output != *"user user:"* ]]
    [[ $output != *"our own"* ]]
    grep -q '"username":"admin","password":"hash12:our own","authority":"ADMIN"' users.json
    [ "$(grep -c dev123 users.json)" = 0 ]
    before=$(cat users.json)
    USER_STATUS=admin PASS_STATUS='our own' run node --input-type=module - <"$deploy/status-backend/first_user.mjs"
    [ -z "$output" ]
    [ "$(cat users.json)" = "$before" ]
}
