"""The loop IR: statements in index form, fused into nests."""
