"""Rules of the repository as a whole."""
