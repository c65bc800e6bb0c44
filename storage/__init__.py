"""Bus → disk, and answers about what is there: the recorder."""
