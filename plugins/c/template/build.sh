#!/bin/sh
# Compiles every .c file here and in sdk/ into target/{{snake}}.wasm; `probity plugin build` runs it and makes the component.
#
# The compiler: the WASI SDK in $WASI_SDK_PATH, else clang ($CLANG) with the C library below $WASI_SYSROOT (/usr).
set -e
cd "${0%/*}"
mkdir -p target

clang=${CLANG:-clang}
where="--target=wasm32-wasi --sysroot=${WASI_SYSROOT:-/usr} -Wno-deprecated"
if [ -n "$WASI_SDK_PATH" ]; then
  clang=$WASI_SDK_PATH/bin/clang
  where=--target=wasm32-wasip1
fi
if ! command -v "$clang" >/dev/null; then
  echo "there is no $clang; Debian and Ubuntu: apt install clang lld wasi-libc libclang-rt-dev-wasm32" >&2
  echo "elsewhere: https://github.com/WebAssembly/wasi-sdk/releases, and its folder in WASI_SDK_PATH" >&2
  exit 1
fi

# Line tables: a trap names your line. Reactor: a library that stays, not a program that ends.
# shellcheck disable=SC2086
"$clang" $where -std=c17 -Wall -Wextra -O2 -gline-tables-only -mexec-model=reactor -Isdk \
  -Wl,--stack-first -Wl,-z,stack-size=262144 -o "target/{{snake}}.wasm" ./*.c sdk/*.c
