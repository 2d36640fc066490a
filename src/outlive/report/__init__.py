"""What a run leaves: its model as JSON, one HTML page with pictures, the matrix of all drills, the closing table, and the tutorial's pictures."""
