"""The op contract, `dyn2trt.contract`, by its former name."""

from dyn2trt.contract import *  # noqa: F403
