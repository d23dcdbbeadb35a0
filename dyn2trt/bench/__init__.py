"""Latency, memory and break-even of a gated network against its own dense twin, in one interleaved run."""
