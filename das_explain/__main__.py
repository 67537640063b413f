"""``python -m das_explain``: the same as ``das-explain``."""

from das_explain.commands import main

if __name__ == "__main__":
    main()
