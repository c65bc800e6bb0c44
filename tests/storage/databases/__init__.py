"""A database of each schema that was ever released, as that release wrote it, to be upgraded by a test."""
