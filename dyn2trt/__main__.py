"""``python -m dyn2trt``, for launchers such as torchrun that start a module."""

from dyn2trt.cli.main import main

main()
