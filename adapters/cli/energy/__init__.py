"""What `scaup energy` does: files to posts, and quarters to plots."""
