"""`python -m build`: hand over to the command line."""

from build.cli import main

main()
