// Messages to TensorRT's logger.
#pragma once

#include <NvInferRuntime.h>

#include <string>

namespace dyn2trt::tensorrt {

// TensorRT hands one to a library that it loads itself; without one the library asks TensorRT's getLogger().
void setLoggerFinder(nvinfer1::ILoggerFinder* finder);

// Logs an error as "dyn2trt::<op>: <message>", on stderr when no logger is found.
void logError(char const* op, std::string const& message);

// Likewise for who asks TensorRT to be verbose; nothing where no logger is found.
void logVerbose(char const* op, std::string const& message);

}  // namespace dyn2trt::tensorrt
