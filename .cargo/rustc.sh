#!/bin/sh
# Cargo calls this in the place of rustc (`build.rustc-wrapper` in config.toml): the compiler, then its arguments.
#
# Release builds, which alone are optimised as one unit (`lto = "fat"`), are optimised for what the gateway executes under
# load, as `cargo xtask profile` recorded it. All other builds are left as they are. Without the profile:
# RUSTC_WRAPPER= cargo build --release --target-dir target/plain
compiler=$1
shift
profile=${0%/*}/release.profdata
case " $* " in
*' -Cprofile-generate='*) ;;
*' lto=fat '* | *' linker-plugin-lto '*)
    [ -e "$profile" ] || exec "$compiler" "$@"
    # A function that has changed since has no profile; that is nothing to warn of.
    set -- "$@" "-Cprofile-use=$profile" -Cllvm-args=-no-pgo-warn-mismatch
    ;;
esac
exec "$compiler" "$@"
