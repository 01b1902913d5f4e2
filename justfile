# What a developer does here, and how. Each recipe installs what it needs, once.
# `./just` runs these where there is no `just`; `up`, `demo` and `dueq` it runs without any.

set positional-arguments

export PATH := justfile_directory() + "/.venv/bin:" + env_var("PATH")

# List the recipes
default:
    @'{{ just_executable() }}' --justfile '{{ justfile() }}' --list --unsorted

# Start everything, run jobs of every kind, show each one's way, stop
demo *args: _runtime
    @exec dueq demo "$@"

# Start everything and stay up until Ctrl-C (dueq up ARGS)
up *args: _runtime
    @exec dueq up "$@"

# Run any dueq command
dueq *args: _runtime
    @exec dueq "$@"

# Run every test, three files at a time, on private servers unless DUEQ_TEST_*_URL say others
test *args: _servers
    pytest -n 3 --dist loadfile "$@"

# Run the tests that need no servers, in seconds
test-unit *args: _dev
    pytest tests/unit "$@"

# Check format, lint, types, layers, generated docs; run the unit tests
check: _dev
    ruff format --check
    ruff check
    mypy pipeline gateway workers infra tests
    lint-imports
    python -m infra.reference --check
    pytest -n 2 --dist loadfile tests/unit

# Format, and mend what the linter can mend
fmt: _dev
    ruff format
    ruff check --fix

# Generate the reference pages
docs: _dev
    python -m infra.reference

# Kill processes in the middle of work: nothing may be lost
chaos *args: _servers
    pytest tests/chaos "$@"

# The same for much longer
chaos-long *args: _servers
    pytest tests/chaos --long --timeout 3600 "$@"

# Measure throughput and latency (dueq bench ARGS)
bench *args: _runtime
    @exec dueq bench "$@"

# Resolve the lock files anew; `--upgrade` takes newer versions
lock *args: _dev
    #!/bin/sh
    set -eux
    python -m pip install --disable-pip-version-check -q uv
    compile() {
        uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
            --no-header --no-annotate "$@"
    }
    compile pyproject.toml -o locks/runtime.txt "$@"
    compile pyproject.toml --group dev -c locks/runtime.txt -o locks/dev.txt "$@"
    compile locks/local.in -o locks/local.txt "$@"
    compile locks/tools.in -c locks/dev.txt -o locks/tools.txt "$@"

_runtime:
    @sh infra/prepare.sh runtime

_dev:
    @sh infra/prepare.sh dev

_servers: _dev
    @python -m infra.local.install
