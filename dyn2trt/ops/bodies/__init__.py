"""ONNX function bodies of the ops, in standard ops only.

An op has one body in a model, whatever its nodes' attributes: ONNX's function overloads would allow one for each, and
onnx itself takes them, but ONNX Runtime (1.31) does not find an overload that another function calls, and TensorRT's
parser (11.4) silently takes the first. So a body reads its attributes as constants and chooses with ``If``, which ONNX
Runtime folds away when it loads the model.
"""

from dyn2trt.ops.bodies.attach import MIN_OPSET, attach_bodies, functions_for

__all__ = ["MIN_OPSET", "attach_bodies", "functions_for"]
