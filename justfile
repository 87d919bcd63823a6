# `just` alone lists what there is. Everything here is also a plain cargo command.

_default:
    @just --list --unsorted

# four replicas on this machine, until Ctrl-C
dev *OPTIONS:
    cargo run --release -- dev {{OPTIONS}}

# the whole suite, slow tests aside
test:
    cargo test --workspace

# the tests that are too slow for every day
slow *OPTIONS:
    cargo xtask slow {{OPTIONS}}

# what a landing must pass, in seconds: form, lints, documentation
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# the rules of the house: rooms, file sizes, names, links
rules:
    cargo test --package xtask

# everything that continuous integration runs
ci:
    .ci/run
