"""What was decided and why: plain data."""
