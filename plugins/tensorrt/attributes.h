// The attributes of an op: what a creator announces, what createPlugin accepts, what a plan keeps.
#pragma once

#include <NvInferRuntime.h>

#include <string>
#include <vector>

#include "dyn2trt/contract.h"
#include "dyn2trt/core.h"

namespace dyn2trt::tensorrt {

using contract::Attribute;
using contract::Attributes;

// The convolution that kernel_shape, strides, pads and dilations describe.
Dyn2trtGeometry geometryOf(Attributes const& attributes);

// The attributes that an op lists.
std::vector<Attribute> attributesOf(contract::Op const& schema);

// Name, type and number of elements, as a creator announces them. Strings have length 0.
nvinfer1::PluginField describe(Attribute attribute);

// Fields that hold `attributes`' values of `list`; they point into `attributes`.
std::vector<nvinfer1::PluginField> toFields(std::vector<Attribute> const& list, Attributes const& attributes);

// Reads `fields` over the values that `attributes` has. Returns what is wrong with them, empty when nothing is.
std::string fromFields(std::vector<Attribute> const& list, nvinfer1::PluginFieldCollection const& fields,
                       Attributes& attributes);

}  // namespace dyn2trt::tensorrt
