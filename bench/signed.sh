#!/usr/bin/env bash
# Requests a second that clients sign, beside what four verifiers could do that do nothing else;
# see `cargo xtask measure --help`. Nothing else may run meanwhile.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --release --locked --workspace --bins
cargo build --release --locked --workspace --example verifiers
exec cargo xtask measure signed "$@"
