"""`python -m piped` is `piped`."""

from __future__ import annotations

from piped.cli import main

if __name__ == "__main__":
    main()
