"""What is loaded inside the rehearsed notebook's own process; nothing here is imported by the kit itself."""
