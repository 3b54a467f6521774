"""A package for a competition whose files were downloaded: looked at, guessed, written, tried."""
