"""The painted competition and `make demo`: the only corner of `build/` that knows pastures."""
