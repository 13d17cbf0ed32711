"""One file for each bundled model: what it learns from, and how."""
