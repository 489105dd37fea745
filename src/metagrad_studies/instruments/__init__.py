"""What studies measure with."""
