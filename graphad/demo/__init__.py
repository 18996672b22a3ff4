"""The main example: a map of Europe recovered from distances alone, by multidimensional scaling."""
