"""pidlib."""
