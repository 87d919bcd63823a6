#!/usr/bin/env bash
# Memory and disk of a replica after a million writes; see `cargo xtask measure --help`. Nothing
# else may run meanwhile.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --release --locked --workspace --bins
exec cargo xtask measure endurance "$@"
