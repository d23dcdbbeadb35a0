"""Latency, memory and break-even of a gated network against its dense counterpart, in one interleaved run."""
