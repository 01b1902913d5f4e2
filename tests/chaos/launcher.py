"""`python -m tests.chaos.launcher ROLE …` is `dueq ROLE …` with what the environment plants in it.

Nothing planted: the same as `dueq`. The bug and the crash point are put into classes before the
role builds anything, so the role itself is the real one.
"""

import os

from infra.cli import main
from tests.chaos import crash, mutants

if __name__ == "__main__":
    if mutant := os.environ.get(mutants.MUTANT):
        mutants.plant(mutant)
    if point := os.environ.get(crash.CRASH):
        crash.plant(point)
    main()
