"""The operations, one record each, one file per family. Importing the package fills the table."""

from graphad.ops import arithmetic
