"""Times of graphad beside other tools and hand-written code, measured in turn in one process on one core."""
