"""What `make setup` installs: the locks, and what reads and writes them. Standard library only: it comes first."""
