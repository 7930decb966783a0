#!/usr/bin/env bats
# shellcheck disable=SC2016 # the fakes expand it
# plugins/toolchain decides what to do with a toolchain that is there. apt is a fake, which downloads nothing: to make one for
# real takes a minute and the network, which is what `plugins/build` does in CI before these tests.

bats_require_minimum_version 1.5.0

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    export PROBITY_WASM_TOOLCHAIN=$BATS_TEST_TMPDIR/toolchain
    mkdir -p "$PROBITY_WASM_TOOLCHAIN/rust" "$BATS_TEST_TMPDIR/bin"
    touch "$PROBITY_WASM_TOOLCHAIN/rust.made"
    # Lists can be fetched, packages cannot.
    program apt-get 'echo "apt-get $*" >>"$BATS_TEST_TMPDIR/apt"; case "$*" in *download*) exit 100 ;; esac'
    program sudo 'shift; exec "$@"'
    PATH=$BATS_TEST_TMPDIR/bin:$PATH
}

program() {
    printf '#!/bin/sh\n%s\n' "$2" >"$BATS_TEST_TMPDIR/bin/$1"
    chmod +x "$BATS_TEST_TMPDIR/bin/$1"
}
# The toolchain that is there, and the one that Debian has.
made() { program rustc-there "echo 'rustc $1 (x)'"; mv "$BATS_TEST_TMPDIR/bin/rustc-there" "$PROBITY_WASM_TOOLCHAIN/rust/rustc"; }
known() { program apt-cache "printf 'rustc-web:\n  Installed: (none)\n  Candidate: $1+dfsg1-1~deb12u2\n'"; }

@test "a toolchain that is new enough is used as it is, and apt is not asked" {
    made 99.0.0
    known 99.1.0
    run "$root/plugins/toolchain" rust
    [ "$status" = 0 ]
    [ "$output" = "$PROBITY_WASM_TOOLCHAIN/env" ]
    [ ! -e "$BATS_TEST_TMPDIR/apt" ]
}

@test "one that is too old is made anew when Debian has a newer one, by lists of now" {
    made 1.60.0
    known 99.0.0
    run "$root/plugins/toolchain" rust
    [ "$status" = 1 ]
    [[ $output == *"Rust 1.60.0 is too old for the plugins here"*"Debian has 99.0.0"* ]]
    [[ $output == *"apt cannot download: rustc-web"* ]]
    [ ! -e "$PROBITY_WASM_TOOLCHAIN/rust.made" ]
    [[ $(head -n 1 "$BATS_TEST_TMPDIR/apt") == *update* ]]
}

@test "one that is too old stays when Debian has no newer one, and the line says what is wanted" {
    made 1.60.0
    known 1.60.0
    run --separate-stderr "$root/plugins/toolchain" rust
    [ "$status" = 0 ]
    [ "$output" = "$PROBITY_WASM_TOOLCHAIN/env" ]
    [[ $stderr == *"Debian's Rust is 1.60.0 here; plugins of this repository want "* ]]
    [ -e "$PROBITY_WASM_TOOLCHAIN/rust.made" ]
}
