#include "tensor.h"

namespace dyn2trt::tensorrt {
namespace {

constexpr int32_t kVector = 8;  // channels that kHWC8 pads to a multiple of

std::vector<int32_t> toVector(nvinfer1::Dims const& dims) {
  std::vector<int32_t> sizes;
  for (int32_t i = 0; i < dims.nbDims; ++i) sizes.push_back(static_cast<int32_t>(dims.d[i]));
  return sizes;
}

}  // namespace

Tensor toTensor(nvinfer1::PluginTensorDesc const& description, void const* data) {
  return {description.type, description.format, toVector(description.dims), const_cast<void*>(data)};
}

Tensor toLargestTensor(nvinfer1::DynamicPluginTensorDesc const& description) {
  return {description.desc.type, description.desc.format, toVector(description.max), nullptr};
}

int32_t toDtype(nvinfer1::DataType type) {
  switch (type) {
    case nvinfer1::DataType::kFLOAT:
      return DYN2TRT_FLOAT32;
    case nvinfer1::DataType::kHALF:
      return DYN2TRT_FLOAT16;
    case nvinfer1::DataType::kBF16:
      return DYN2TRT_BFLOAT16;
    default:
      return -1;
  }
}

Dyn2trtDense toDense(Tensor const& tensor) {
  int32_t const n = tensor.dim(0), c = tensor.dim(1), h = tensor.dim(2), w = tensor.dim(3);
  int64_t const plane = int64_t{h} * w;
  if (tensor.format == nvinfer1::TensorFormat::kHWC8) {
    int64_t const pixel = (int64_t{c} + kVector - 1) / kVector * kVector;
    return {tensor.data, n, c, h, w, plane * pixel, 1, w * pixel, pixel, DYN2TRT_NHWC};
  }
  return {tensor.data, n, c, h, w, plane * c, plane, w, 1, DYN2TRT_NCHW};
}

std::string toString(std::vector<int32_t> const& dims) {
  std::string text;
  for (int32_t const size : dims) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text;
}

}  // namespace dyn2trt::tensorrt
