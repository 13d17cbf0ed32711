"""What is fast, measured against what a user would use instead: ratios in one run, medians."""
