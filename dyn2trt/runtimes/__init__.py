"""Runtimes: torch, ONNX Runtime and TensorRT behind one interface, for compare and bench.

`session` holds the interface: a `Session` runs, times and weighs one model on feeds, a `Runtime` opens sessions. Where
something is missing, all of them raise `dyn2trt.errors.MissingDependency`. Importing this package imports none of them.
"""
