"""Long measurements of what wordframe bears: ``make stress``, outside the normal run; docs/testing.md has tables."""
