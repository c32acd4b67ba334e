"""How events reach a plugin: one module for each mode."""
