"""What the work costs, against a baseline measured in the same run: ``python -m benchmarks``."""
