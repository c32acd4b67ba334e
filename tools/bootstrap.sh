#!/bin/sh
# Makes the folder for Python packages, and sees to it that this machine can build slipstream.
#
#   tools/bootstrap.sh VENV [--tests]
#
# What Debian has to provide and is missing is installed with apt-get, as root or by a sudo that
# asks for no password; otherwise the command to type is named and nothing is changed. Without
# anything missing no network is needed. --tests also wants a second compiler (clang), g++ and gdb,
# which some tests use; they are skipped where those are missing.
#
# PYTHON names the interpreter; otherwise the first of python3, python3.11 ... that is 3.11 or
# newer is taken.
set -eu

venv=${1:?usage: tools/bootstrap.sh VENV [--tests]}
tests=${2:-}
oldest=3.11

say() { printf '%s\n' "bootstrap: $*" >&2; }
is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
includes() { printf '#include <%s>\n' "$1" | "${CC:-cc}" ${2:+-I "$2"} -E -x c - >/dev/null 2>&1; }

find_python() {
    for candidate in ${PYTHON:-python3 python3.11 python3.12 python3.13 python3.14}; do
        if is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

# The Debian packages that are missing, one name a line.
missing_packages() {
    command -v "${CC:-cc}" >/dev/null || echo gcc libc6-dev
    if [ -z "$python" ]; then
        echo python3 python3-venv python3-dev
    else
        # Debian's own interpreters lack these two until their packages are installed.
        name=python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "$name-venv"
        headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
        [ -f "$headers/Python.h" ] || echo "$name-dev"
    fi
    includes sqlite3.h || echo libsqlite3-dev
}

optional_packages() {
    command -v clang >/dev/null || echo clang
    command -v c++ >/dev/null || echo g++
    command -v gdb >/dev/null || echo gdb
}

# How to become root here: nothing if we are, "sudo -n" if that asks for nothing, else fails.
as_root() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" -eq 0 ] && return
    command -v sudo >/dev/null && sudo -n true 2>/dev/null && echo sudo -n
}

install_packages() {
    sudo=$(as_root) || return 1
    say "installing $*"
    $sudo apt-get update -qq >&2 || say "apt-get update failed; trying with the lists that are here"
    $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "$@" </dev/null >&2
}

if [ -n "${PYTHON:-}" ] && ! is_new_enough "$PYTHON"; then
    say "PYTHON=$PYTHON is not Python $oldest or newer"
    exit 1
fi

python=$(find_python)
# Both lists are names without spaces.
missing=$(missing_packages | tr '\n' ' ')
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086
    if ! install_packages $missing; then
        say "this machine lacks: $missing"
        say "  next: sudo apt-get update && sudo apt-get install -y $missing"
        say "  (on a system other than Debian, what holds the same)"
        exit 1
    fi
    python=$(find_python)
    if [ -z "$python" ]; then
        say "there is no Python $oldest or newer, even with Debian's python3 installed"
        say "  next: install one, then: make PYTHON=/path/to/python3.11 ..."
        exit 1
    fi
    missing=$(missing_packages | tr '\n' ' ')
    if [ -n "$missing" ]; then
        say "still missing for $python: $missing"
        say "  next: install it, or name another interpreter: make PYTHON=/usr/bin/python3 ..."
        exit 1
    fi
fi

if [ "$tests" = --tests ]; then
    wanted=$(optional_packages | tr '\n' ' ')
    # shellcheck disable=SC2086
    if [ -n "$wanted" ] && ! install_packages $wanted; then
        say "some tests are skipped without: $wanted"
        say "  next: sudo apt-get install -y $wanted"
    fi
    command -v cargo >/dev/null || say "the Rust example is skipped without cargo (optional)"
fi

if ! is_new_enough "$venv/bin/python" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    say "making $venv with $python"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
