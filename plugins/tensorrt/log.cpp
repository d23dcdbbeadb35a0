#include "log.h"

#include <atomic>
#include <cstdio>

#include "runtime_library.h"

namespace dyn2trt::tensorrt {
namespace {

std::atomic<nvinfer1::ILoggerFinder*> loggerFinder{nullptr};

nvinfer1::ILogger* findLogger() {
  if (auto* finder = loggerFinder.load()) {
    if (auto* logger = finder->findLogger()) return logger;
  }
  auto* const getLogger = reinterpret_cast<nvinfer1::ILogger* (*)()>(findInTensorRT("getLogger"));
  return getLogger != nullptr ? getLogger() : nullptr;
}

std::string line(char const* op, std::string const& message) { return std::string("dyn2trt::") + op + ": " + message; }

}  // namespace

void setLoggerFinder(nvinfer1::ILoggerFinder* finder) { loggerFinder = finder; }

void logError(char const* op, std::string const& message) {
  if (auto* logger = findLogger()) {
    logger->log(nvinfer1::ILogger::Severity::kERROR, line(op, message).c_str());
  } else {
    std::fprintf(stderr, "%s\n", line(op, message).c_str());
  }
}

void logVerbose(char const* op, std::string const& message) {
  if (auto* logger = findLogger()) logger->log(nvinfer1::ILogger::Severity::kVERBOSE, line(op, message).c_str());
}

}  // namespace dyn2trt::tensorrt
