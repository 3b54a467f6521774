"""A script that somebody wrote elsewhere becomes a kernel of this kit: its card, and the packages it needs offline."""
