#!/usr/bin/env bash
# Quorate beside CometBFT, etcd and a server that does nothing, in one run on this machine.
#
#   bench/compare.sh                 what is installed of them
#   bench/compare.sh --install       first installs the peers and wrk (Debian, as root; Go for CometBFT)
#   bench/compare.sh --rounds 1 --seconds 3 --connections 100 --only quorate,etcd
#   bench/compare.sh --help
#
# Peers are looked for in target/peers/bin and on the PATH. Nothing else may run meanwhile.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

COMETBFT=github.com/cometbft/cometbft/cmd/cometbft@v0.38.26
TARGET=${CARGO_TARGET_DIR:-target}
mkdir -p "$TARGET/peers/bin"
PEERS=$(cd "$TARGET/peers/bin" && pwd)
export PATH="$PEERS:$PATH"

if [ "${1:-}" = --install ]; then
    shift
    if ! { command -v wrk && command -v etcd; } > /dev/null; then
        apt-get update -q
        # Without its service: the comparison starts nodes of its own.
        RUNLEVEL=1 apt-get install -q -y --no-install-recommends wrk etcd-server
    fi
    command -v cometbft > /dev/null || GOBIN=$PEERS go install "$COMETBFT"
fi

cargo build --release --locked --workspace --bins
cargo build --release --locked --workspace --example plain
exec cargo xtask compare "$@"
