"""Timings: all contenders in one interleaved run, and what they say: latency, speed-up, break-even, generation."""
