"""What is particular to this competition."""
