"""The local stack: emulated AWS, and a Cromwell-compatible server over a real WDL engine."""
