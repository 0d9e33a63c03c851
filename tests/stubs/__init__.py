"""Servers on real sockets that stand in for those we talk to."""
