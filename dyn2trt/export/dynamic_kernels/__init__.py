"""Dynamic kernels on their way into an ONNX file.

``placeholders`` lets torch trace a dynamic convolution as one node, ``expand`` replaces each such node by standard
ops, ``forms`` has the choice of them (docs/dynamic_kernels.md).
"""
