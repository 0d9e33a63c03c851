"""Pictures of a terminal for the pages, taken of the command as it runs: `make pictures`."""
