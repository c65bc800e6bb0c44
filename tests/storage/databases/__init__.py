"""A database of each released schema, as written by that release, for the test of upgrades."""
