"""ONNX function bodies of the ops, in standard ops only."""

from dyn2trt.ops.bodies.attach import MIN_OPSET, attach_bodies, functions_for

__all__ = ["MIN_OPSET", "attach_bodies", "functions_for"]
