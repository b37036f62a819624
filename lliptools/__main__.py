"""`python -m lliptools`, and so `torchrun -m lliptools`, is the command line."""

from lliptools.cli import app

if __name__ == "__main__":
    app(prog_name="lliptools")
