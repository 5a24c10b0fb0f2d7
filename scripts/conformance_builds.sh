#!/usr/bin/env bash
# The agreed bytes must be the same in every build: checks them with overflow checks and debug assertions, and for this
# machine's own processor. The release build is checked by the ordinary tests.
#
#   scripts/conformance_builds.sh
#
# Only the protocol crate and what it needs are built, in folders of their own, so that the ordinary build stays as it is.
# Dependencies are optimised in the debug build, too: the curve's arithmetic takes a hundred times as long without.
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}"

CARGO_TARGET_DIR="$target/conformance-debug" cargo --config 'profile.dev.package."*".opt-level=3' \
    --config 'profile.dev.debug=false' --config 'profile.dev.incremental=false' \
    test --locked --package fedswarm-protocol --test conformance --test fuzz

CARGO_TARGET_DIR="$target/conformance-native" RUSTFLAGS="${RUSTFLAGS:-} -C target-cpu=native" \
    cargo test --release --locked --package fedswarm-protocol --test conformance
