"""What the tests type as a person would: programs of Debian's packages, installed when missing."""

import shutil
import subprocess

import pytest

from infra.local.install import APT

PACKAGES = {
    "amqp-publish": "amqp-tools",
    "bash": "bash",
    "curl": "curl",
    "redis-cli": "redis-tools",
    "sh": "dash",
    "ss": "iproute2",
}


def require(program: str) -> None:
    """It is there afterwards; where it cannot be installed the test is skipped with the reason."""
    if shutil.which(program) is None:
        install = ["sh", str(APT), PACKAGES[program]]
        ran = subprocess.run(install, capture_output=True, text=True, check=False)
        if ran.returncode:
            pytest.skip(f"{program} is missing: {ran.stderr.strip()[-300:]}")
