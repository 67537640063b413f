"""Runs the command line from a bare checkout: ``python cli.py sfd ...``. Installed, the command is ``das-explain``."""

from das_explain.commands import main

if __name__ == "__main__":
    main()
