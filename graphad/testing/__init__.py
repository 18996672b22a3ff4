"""Checkers of derivatives: for the operations of the table, a user's own included, and for whole graphs."""

from graphad.testing.graphs import check_derivatives
from graphad.testing.operations import Failure, check_op, failures

__all__ = ["Failure", "check_derivatives", "check_op", "failures"]
