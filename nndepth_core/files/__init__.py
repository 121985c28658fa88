"""Writing files whole or not at all, reading pictures of limited size, and checking values."""
