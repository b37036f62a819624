"""The command line.

lliptools doctor | lab | recipes | train | evaluate | bounds | certify | check | gallery | app | release
"""

from lliptools.cli import course, networks  # noqa: F401 - each adds its commands
from lliptools.cli.application import app

__all__ = ["app"]
