// The attributes of an op: what a creator announces, what createPlugin accepts, what a plan keeps.
#pragma once

#include <NvInferRuntime.h>

#include <string>
#include <vector>

#include "dyn2trt/core.h"

namespace dyn2trt::tensorrt {

// Attributes of every op; an op uses those that it lists. Defaults are those of dyn2trt/contract.py.
struct Attributes {
  float threshold = 0.0f;
  int32_t kernel_shape[2] = {1, 1};
  int32_t strides[2] = {1, 1};
  int32_t pads[4] = {0, 0, 0, 0};
  int32_t dilations[2] = {1, 1};
  int32_t group = 1;
  int32_t activation = DYN2TRT_NONE;
  int32_t reduction = DYN2TRT_REDUCE_ADD;

  // The convolution that kernel_shape, strides, pads and dilations describe.
  Dyn2trtGeometry geometry() const;
};

enum class Attribute { kThreshold, kKernelShape, kStrides, kPads, kDilations, kGroup, kActivation, kReduction };

// Name, type and number of elements, as a creator announces them. Strings have length 0.
nvinfer1::PluginField describe(Attribute attribute);

// Fields that hold `attributes`' values of `list`; they point into `attributes`.
std::vector<nvinfer1::PluginField> toFields(std::vector<Attribute> const& list, Attributes const& attributes);

// Reads `fields` over the values that `attributes` has. Returns what is wrong with them, empty when nothing is.
std::string fromFields(std::vector<Attribute> const& list, nvinfer1::PluginFieldCollection const& fields,
                       Attributes& attributes);

}  // namespace dyn2trt::tensorrt
