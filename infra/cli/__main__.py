"""`python -m infra.cli` is `dueq`."""

from infra.cli import main

main()
