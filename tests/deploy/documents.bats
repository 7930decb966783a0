#!/usr/bin/env bats
# shellcheck disable=SC2013,SC2016,SC2046,SC2154 # words are meant; `root` comes from the file that is loaded
# The pages on deployment: both languages say the same, what they tell people to run is there, and the checklist is true.

load postgres.bash

# Those that are there in both languages.
pages() {
    local name
    for name in install operate migrate-from-node-red disaster-recovery blue-green high-availability monitoring tls decisions; do echo "$root/docs/deploy/$name.md"; done
}

# Headings by their level, and whole blocks of code: what a translation keeps.
skeleton() {
    awk '/^```/ { code = !code; print; next } code { print; next } /^#+ / { print "heading", length($1) } /^\|/ { print "row", gsub(/\|/, "|") }' "$1"
}

@test "each page is there in English and Spanish, with the same headings, tables and commands" {
    number=0
    for page in $(pages); do
        spanish=${page%.md}.es.md
        [ -f "$spanish" ] || { echo "$spanish is missing"; return 1; }
        diff <(skeleton "$page") <(skeleton "$spanish") || { echo "$page"; return 1; }
        # Translated, and not copied.
        [ "$(comm -12 <(grep -v '^```' "$page" | sort -u) <(grep -v '^```' "$spanish" | sort -u) | wc -l)" -lt "$(($(wc -l <"$page") / 2))" ]
        number=$((number + 1))
    done
    [ "$number" = 9 ]
}

@test "links lead somewhere" {
    for page in "$root"/docs/deploy/*.md; do
        grep -o '](\([^)#]*\)' "$page" | sed 's/^](//' | grep -v '^$\|://' | while read -r link; do
            [ -e "$root/docs/deploy/$link" ] || { echo "$page: $link"; exit 1; }
        done
    done
}

@test "what the pages tell people to run is there, with its flags" {
    seen=0
    while read -r line; do
        words=${line#*=* }
        script=$(grep -oE '(deploy|tests/drills)/[A-Za-z_./]+' <<<"$line" | head -n 1)
        case $line in
        deploy/* | tests/drills/* | *" deploy/stack "* | *" deploy/setup.sh "* | *" deploy/bin/"*) ;;
        *) continue ;;
        esac
        [ -x "$root/$script" ] || { echo "$line: no program $script"; return 1; }
        seen=$((seen + 1))
        for flag in $(grep -oE -- ' --[a-z-]+' <<<"$words"); do
            case $line in *" compose "*) continue ;; esac
            grep -q -- "$flag" "$root/$script" "$root"/deploy/bin/upgrade.sh "$root"/deploy/bin/cleanup_backups.sh "$root"/deploy/bin/restore_db.sh ||
                { echo "$line: $script has no $flag"; return 1; }
        done
        if [ "$script" = deploy/stack ]; then
            command=$(sed 's/.*deploy\/stack \([a-z-]*\).*/\1/' <<<"$line")
            grep -qE "^$command\)" "$root/deploy/stack" || { echo "$line: deploy/stack has no $command"; return 1; }
        fi
    done < <(awk '/^```sh/ { code = 1; next } /^```/ { code = 0 } code' $(pages))
    [ "$seen" -ge 20 ]
}

@test "variables that the pages name are known" {
    while read -r name; do
        grep -rqs -- "$name" "$root"/deploy/bin "$root"/deploy/*.sh "$root"/deploy/*.yml "$root/deploy/.env.example" || { echo "$name"; return 1; }
    done < <(grep -ohE '`[A-Z][A-Z_]{5,}(=[^`]*)?`' "$root"/docs/deploy/*.md | tr -d '`' | sed 's/=.*//' | grep -v 'SIGTERM\|^PROBITY_TEST_' | sort -u)
}

@test "Windows: the way by WSL 2 is written in both languages, and a clone there keeps the line ends of scripts" {
    for page in install.md install.es.md; do
        grep -q '^## Windows$' "$root/docs/deploy/$page"
        grep -q 'wsl --install -d Debian' "$root/docs/deploy/$page"
        grep -q '/mnt/c' "$root/docs/deploy/$page"
    done
    for script in deploy/setup.sh deploy/stack deploy/bin/backup_db.sh deploy/postgres/init/10-roles.sh deploy/compose.base.yml; do
        [ "$(git -C "$root" check-attr eol -- "$script")" = "$script: eol: lf" ]
        [ "$(grep -c $'\r' "$root/$script")" = 0 ]
    done
}

@test "the checklist has all 62 rows, and every check it names is there" {
    list=$root/docs/deploy/checklist.md
    [ "$(sed -n 's/^| \([0-9]*\) |.*/\1/p' "$list")" = "$(seq 62)" ]
    while read -r check; do
        path=${check%%#*}
        [ -f "$root/$path" ] || { echo "$check: no such file"; return 1; }
        if [ "$check" != "$path" ]; then
            grep -qE "fn ${check#*#}\b|^@test \"${check#*#}[^\"]*\"" "$root/$path" || { echo "$check: no such test"; return 1; }
        fi
    done < <(grep -oE '`(tests/(it|deploy)|plugins/[a-z-]+/tests)/[^`]*`' "$list" | tr -d '`' | sort -u)
    # A row without a check says so.
    while IFS='|' read -r _ number _ _ check by _; do
        case $by in *"not yet"*) ;; *) [[ $check == *tests/* ]] || { echo "row $number"; return 1; } ;; esac
    done < <(grep -E '^\| [0-9]+ \|' "$list")
    # The sum at its end is that of the rows.
    for kind in direct near part 'not yet'; do
        number=$(grep -cE "^\| [0-9]+ \|.*\| $kind \|$" "$list" || true)
        tail -n 1 "$list" | grep -q "\b$number $kind\b"
    done
}
