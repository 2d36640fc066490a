"""What is taught: the tutorial's pages, which are run, and the exercises, which are set and graded."""
