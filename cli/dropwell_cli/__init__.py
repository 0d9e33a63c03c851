"""The `dropwell` command."""
