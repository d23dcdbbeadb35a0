// A tensor as an op sees it, from any of TensorRT's descriptions, and its forms in the core's C ABI.
#pragma once

#include <NvInferRuntime.h>

#include <string>
#include <vector>

#include "dyn2trt/core.h"

namespace dyn2trt::tensorrt {

struct Tensor {
  nvinfer1::DataType type;
  nvinfer1::TensorFormat format;
  std::vector<int32_t> dims;
  void* data;  // null while TensorRT builds

  int32_t dim(size_t axis) const { return dims[axis]; }
  size_t rank() const { return dims.size(); }
};

Tensor toTensor(nvinfer1::PluginTensorDesc const& description, void const* data = nullptr);

// With the largest shape of the profile.
Tensor toLargestTensor(nvinfer1::DynamicPluginTensorDesc const& description);

// The core's dtype, -1 for a type that it does not have.
int32_t toDtype(nvinfer1::DataType type);

// A dense [N, C, H, W] in TensorRT's linear or kHWC8 format, strides included.
Dyn2trtDense toDense(Tensor const& tensor);

// "2x3x8x8"
std::string toString(std::vector<int32_t> const& dims);

}  // namespace dyn2trt::tensorrt
