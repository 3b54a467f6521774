"""`python -m build`: hand over to the command line."""

from build.cli import main

if __name__ == "__main__":  # a process that measures imports this module, too
    main()
