#!/usr/bin/env bash
# Requests a second while a backup is mute, a primary slow, a primary equivocates; see
# `cargo xtask measure --help`. Nothing else may run meanwhile.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --release --locked --workspace --bins
exec cargo xtask measure faults "$@"
