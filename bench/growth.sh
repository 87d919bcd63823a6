#!/usr/bin/env bash
# Curves by replicas and by content, beside what the model expects; see `cargo xtask measure --help`.
# Nothing else may run meanwhile.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --release --locked --workspace --bins
cargo build --release --locked --workspace --example plain --example growth
exec cargo xtask measure growth "$@"
