"""The libraries that are timed: how each makes an entrant of a problem. Each is imported when it is asked for."""
