"""How often Python looks for garbage: seldom, and never through what stays for good.

Jobs come and go by reference counts; only cycles wait for the collector. With Python's defaults it
took 17 % of the CPU of every process under load (measured), most of it walking through modules,
models and indexes that live as long as the process does.
"""

import gc

_YOUNG, _MIDDLE, _OLD = 50_000, 20, 20
"""A batch of 500 jobs in flight is some 20,000 objects."""


def keep_what_is_here() -> None:
    """Call once, when everything is set up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
