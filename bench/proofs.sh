#!/usr/bin/env bash
# What a proof costs those who verify it, and those who add it;
# see `cargo xtask measure --help`. Nothing else may run meanwhile.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --release --locked --workspace --bins
cargo build --release --locked --workspace --example proof_cost
exec cargo xtask measure proofs "$@"
