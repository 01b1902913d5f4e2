#!/bin/sh
# Makes .venv hold what a recipe needs: `sh infra/prepare.sh tools|runtime|dev`.
#
# Each is installed once, from its lock file, and again when that, pyproject.toml or the place of
# the checkout changes; with nothing to do this takes milliseconds. Two at a time take turns. Talks
# on stderr only.
set -eu
exec >&2
cd "$(dirname "$0")/.."

wanted_hash() {
    { pwd -P; cat pyproject.toml locks/tools.txt "locks/$1.txt"; } | sha256sum
}

is_prepared() {
    [ -x .venv/bin/python ] && [ "$(cat ".venv/prepared-$1" 2>/dev/null)" = "$(wanted_hash "$1")" ]
}

is_prepared "$1" && exit 0
exec 9>.venv.lock
flock 9

venv_is_whole() {
    # pip comes last into a new environment, and knows where that was made.
    [ -x .venv/bin/python ] && grep -qsF "$(pwd -P)/.venv/bin" .venv/bin/pip
}

find_python() {
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

make_venv() {
    python=$(find_python) || {
        sh infra/local/apt.sh python3
        python=$(find_python) || {
            echo "DueQ needs Python 3.11 or newer; this machine's packages have none."
            exit 1
        }
    }
    # Debian's Python comes without the part that puts pip into a new environment.
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        sh infra/local/apt.sh "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    fi
    "$python" -m venv --clear .venv
}

pip_install() {
    .venv/bin/python -m pip install --disable-pip-version-check --no-input -q "$@"
}

prepare() {
    is_prepared "$1" && return
    echo "Installing what locks/$1.txt names into .venv ..."
    pip_install --require-hashes -r "locks/$1.txt"
    if [ "$1" = runtime ]; then
        pip_install --no-deps --no-build-isolation -e .
    fi
    wanted_hash "$1" >".venv/prepared-$1"
}

{
    venv_is_whole || make_venv
    prepare tools
    [ "$1" = tools ] || prepare runtime
    [ "$1" != dev ] || prepare dev
} 9>&-
