"""One module for each screen, with its styles beside it."""
