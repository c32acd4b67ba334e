#!/bin/sh
# Makes the folder for Python packages, and sees to it that this machine can build slipstream.
#
#   tools/bootstrap.sh VENV [--tests]
#   tools/bootstrap.sh VENV --needs PACKAGE PROGRAM...  only that: what one kind of test runs with
#
# What Debian has to provide and is missing is installed with apt-get, as root or by a sudo that
# asks for no password; otherwise the command to type is named and nothing is changed. Without
# anything missing no network is needed. --tests also wants a second compiler (clang) with its
# sanitizers, g++, gdb and valgrind, which some tests use, and a browser, promtool, two shells, gpg,
# minisign, pkg-config, PostgreSQL and wine; what needs them is skipped where those are missing.
#
# Whether a tool is there is found out by using it as the build and the tests do: a compiler is of
# no use without its libraries, which are packages of their own.
#
# PYTHON names the interpreter; otherwise the first of python3, python3.11 ... that is 3.11 or
# newer is taken.
set -eu

venv=${1:?usage: tools/bootstrap.sh VENV [--tests]}
tests=${2:-}
oldest=3.11
wines="wine64 wine /usr/lib/wine/wine64" # Debian's is not on PATH

has() { command -v "$1" >/dev/null; }
has_any() { for program; do ! has "$program" || return 0; done && return 1; }
say() { printf '%s\n' "bootstrap: $*" >&2; }
is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# makes COMPILER... : whether it makes a program of the C or C++ source on standard input.
makes() { "$@" -o "$scratch/program" - >/dev/null 2>&1; }
# The same, and the program runs: sanitizers are libraries of their own, which may not get along
# with the machine.
runs() { makes "$@" && "$scratch/program" -runs=1 >/dev/null 2>&1; }
program() { printf '#include <%s>\nint main(void) { return 0; }\n' "${1:-stdio.h}"; }
fuzzer() { printf 'int LLVMFuzzerTestOneInput(const char *d, long n) { return d && n < 0; }\n'; }

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
    # CC may be a command with arguments.
    program | makes ${CC:-cc} -x c || echo gcc libc6-dev
    if [ -z "$python" ]; then
        echo python3 python3-venv python3-dev
    else
        # Debian's own interpreters lack these two until their packages are installed.
        name=python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "$name-venv"
        headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
        program Python.h | makes ${CC:-cc} -I "$headers" -x c || echo "$name-dev"
    fi
    program sqlite3.h | makes ${CC:-cc} -x c -lsqlite3 || echo libsqlite3-dev
}

# What the tests need beyond that. They call the compilers by these names, whatever CC is.
optional_packages() {
    chromium --version >/dev/null 2>&1 || chromium-browser --version >/dev/null 2>&1 ||
        echo chromium
    has zsh || echo zsh
    has fish || echo fish
    has gpg || echo gpg
    has gpg-agent || echo gpg-agent
    has minisign || echo minisign
    pkg-config --version >/dev/null 2>&1 || echo pkg-config
    valgrind -q true >/dev/null 2>&1 || echo valgrind
    # Each of the two packages brings a pg_config.
    [ -e "$(pg_config --includedir 2>/dev/null)/libpq-fe.h" ] || echo libpq-dev
    [ -x "$(pg_config --bindir 2>/dev/null)/initdb" ] || echo postgresql
    program | makes gcc -x c || echo gcc libc6-dev
    program cstdio | makes g++ -x c++ || echo g++
    program cstdio | makes c++ -x c++ || echo g++
    # shellcheck disable=SC2086
    [ "$(uname -m)" != x86_64 ] || has_any $wines || echo wine64
    gdb -q -batch -ex 'print 1 + 1' 2>/dev/null | grep -q '= 2' || echo gdb
    if ! program | makes clang -x c || ! program cstdio | makes clang++ -x c++; then
        echo clang
    elif ! program | runs clang -fsanitize=address,undefined -x c ||
        ! fuzzer | runs clang -fsanitize=fuzzer,address,undefined -x c; then
        clang_runtime
    fi
}

# The package with clang's sanitizers has its version in its name, and had another name once.
clang_runtime() {
    version=$(clang -dumpversion | cut -d. -f1)
    name=libclang-rt-$version-dev
    old=libclang-common-$version-dev
    if ! apt-cache show "$name" >/dev/null 2>&1 && apt-cache show "$old" >/dev/null 2>&1; then
        name=$old
    fi
    echo "$name"
}

# How to become root here: nothing if we are, "sudo -n" if that asks for nothing, else fails.
as_root() {
    has apt-get || return 1
    [ "$(id -u)" -eq 0 ] && return
    has sudo && sudo -n true 2>/dev/null && echo sudo -n
}

install_packages() {
    sudo=$(as_root) || return 1
    say "installing $*"
    $sudo apt-get update -qq >&2 || say "apt-get update failed; trying with the lists that are here"
    get_packages "$@" && return
    [ $# -gt 1 ] || return 1
    # One that is not to be had must not keep the others away.
    failed=0
    for package; do get_packages "$package" || failed=1; done
    return $failed
}

get_packages() {
    $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "$@" </dev/null >&2
}

if [ "$tests" = --needs ]; then
    package=${3:?} && shift 3
    has_any "$@" || install_packages "$package" && exit
    say "this machine lacks $package"
    say "  next: sudo apt-get update && sudo apt-get install -y $package"
    exit 1
fi

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
    had=
    wanted=$(optional_packages | sort -u | tr '\n' ' ')
    # Twice: what goes with a compiler can be told only once that is there.
    while [ -n "$wanted" ] && [ "$wanted" != "$had" ]; do
        # shellcheck disable=SC2086
        install_packages $wanted || true
        had=$wanted
        wanted=$(optional_packages | sort -u | tr '\n' ' ')
    done
    if [ -n "$wanted" ]; then
        say "some tests are skipped without: $wanted"
        say "  next: sudo apt-get install -y $wanted"
    fi
    cargo --version >/dev/null 2>&1 || say "what is in Rust is skipped without cargo (optional)"
fi

if ! is_new_enough "$venv/bin/python" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    say "making $venv with $python"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi

# Of Debian's prometheus only the one program: the package itself starts a service.
fetch_promtool() {
    bin=$(cd "$venv/bin" && pwd) && cd "$scratch" && apt-get download -qq prometheus &&
        dpkg -x prometheus_*.deb . && cp usr/bin/promtool "$bin"
}
if [ "$tests" = --tests ] && ! promtool --version >/dev/null 2>&1 &&
    ! "$venv/bin/promtool" --version >/dev/null 2>&1; then
    say "fetching promtool"
    if ! (fetch_promtool) >/dev/null 2>&1 &&
        ! { sudo=$(as_root) && $sudo apt-get update -qq && (fetch_promtool); } >/dev/null 2>&1; then
        say "some tests are skipped without promtool, which is in Debian's package prometheus"
    fi
fi
