#include "attributes.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace dyn2trt::tensorrt {
namespace {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

// Indices are the values of Dyn2trtActivation and Dyn2trtReduction.
constexpr char const* kActivations[] = {"none", "relu", "relu6", "hard_swish"};
constexpr char const* kReductions[] = {"add", "none"};

struct Description {
  char const* name;
  PluginFieldType type;
  int32_t length;
  int32_t smallest;  // of every element of an integer attribute
};

Description const& descriptionOf(Attribute attribute) {
  // In the order of enum Attribute.
  static constexpr Description kDescriptions[] = {
      {"threshold", PluginFieldType::kFLOAT32, 1, 0}, {"kernel_shape", PluginFieldType::kINT32, 2, 1},
      {"strides", PluginFieldType::kINT32, 2, 1},     {"pads", PluginFieldType::kINT32, 4, 0},
      {"dilations", PluginFieldType::kINT32, 2, 1},   {"group", PluginFieldType::kINT32, 1, 0},
      {"activation", PluginFieldType::kCHAR, 0, 0},   {"reduction", PluginFieldType::kCHAR, 0, 0},
  };
  return kDescriptions[static_cast<int32_t>(attribute)];
}

void* valueOf(Attribute attribute, Attributes& attributes) {
  switch (attribute) {
    case Attribute::kThreshold:
      return &attributes.threshold;
    case Attribute::kKernelShape:
      return attributes.kernel_shape;
    case Attribute::kStrides:
      return attributes.strides;
    case Attribute::kPads:
      return attributes.pads;
    case Attribute::kDilations:
      return attributes.dilations;
    case Attribute::kGroup:
      return &attributes.group;
    case Attribute::kActivation:
      return &attributes.activation;
    case Attribute::kReduction:
      return &attributes.reduction;
  }
  return nullptr;
}

std::vector<char const*> choicesOf(Attribute attribute) {
  if (attribute == Attribute::kActivation) return {std::begin(kActivations), std::end(kActivations)};
  return {std::begin(kReductions), std::end(kReductions)};
}

template <class Names>
std::string join(Names const& names) {
  std::string text;
  for (std::string const name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

char const* nameOf(PluginFieldType type) {
  switch (type) {
    case PluginFieldType::kFLOAT32:
      return "float32";
    case PluginFieldType::kINT32:
      return "int32";
    case PluginFieldType::kCHAR:
      return "string";
    default:
      return "another type";
  }
}

std::string readString(Attribute attribute, PluginField const& field, Attributes& attributes) {
  // The parser passes no terminator, a plan may.
  auto const* text = static_cast<char const*>(field.data);
  std::string const value(text, strnlen(text, static_cast<size_t>(field.length)));
  auto const choices = choicesOf(attribute);
  auto const found = std::find(choices.begin(), choices.end(), value);
  if (found == choices.end()) {
    return std::string(field.name) + " is one of " + join(choices) + ", not '" + value + "'";
  }
  *static_cast<int32_t*>(valueOf(attribute, attributes)) = static_cast<int32_t>(found - choices.begin());
  return "";
}

std::string readNumbers(Attribute attribute, PluginField const& field, Attributes& attributes) {
  Description const& wanted = descriptionOf(attribute);
  if (field.length != wanted.length) {
    return std::string(field.name) + " has " + std::to_string(wanted.length) + " elements, not " +
           std::to_string(field.length);
  }
  std::memcpy(valueOf(attribute, attributes), field.data, static_cast<size_t>(wanted.length) * sizeof(int32_t));
  if (wanted.type == PluginFieldType::kFLOAT32) return "";
  auto const* values = static_cast<int32_t const*>(valueOf(attribute, attributes));
  for (int32_t i = 0; i < wanted.length; ++i) {
    if (values[i] < wanted.smallest) {
      return std::string(field.name) + " is at least " + std::to_string(wanted.smallest) + ", not " +
             std::to_string(values[i]);
    }
  }
  return "";
}

}  // namespace

Dyn2trtGeometry Attributes::geometry() const {
  return {kernel_shape[0], kernel_shape[1], strides[0], strides[1],   pads[0],
          pads[1],         pads[2],         pads[3],    dilations[0], dilations[1]};
}

PluginField describe(Attribute attribute) {
  Description const& description = descriptionOf(attribute);
  return {description.name, nullptr, description.type, description.length};
}

std::vector<PluginField> toFields(std::vector<Attribute> const& list, Attributes const& attributes) {
  std::vector<PluginField> fields;
  for (Attribute const attribute : list) {
    PluginField field = describe(attribute);
    field.data = valueOf(attribute, const_cast<Attributes&>(attributes));
    if (field.type == PluginFieldType::kCHAR) {
      field.data = choicesOf(attribute)[static_cast<size_t>(*static_cast<int32_t const*>(field.data))];
      field.length = static_cast<int32_t>(std::strlen(static_cast<char const*>(field.data)));
    }
    fields.push_back(field);
  }
  return fields;
}

std::string fromFields(std::vector<Attribute> const& list, nvinfer1::PluginFieldCollection const& fields,
                       Attributes& attributes) {
  for (int32_t i = 0; i < fields.nbFields; ++i) {
    PluginField const& field = fields.fields[i];
    auto const found = std::find_if(list.begin(), list.end(), [&](Attribute attribute) {
      return std::strcmp(descriptionOf(attribute).name, field.name) == 0;
    });
    if (found == list.end()) {
      std::vector<char const*> known;
      for (Attribute const attribute : list) known.push_back(descriptionOf(attribute).name);
      return std::string("there is no attribute ") + field.name + "; there are " + join(known);
    }
    Description const& wanted = descriptionOf(*found);
    if (field.type != wanted.type || field.data == nullptr) {
      return std::string(field.name) + " is " + nameOf(wanted.type) + ", not " + nameOf(field.type);
    }
    std::string const wrong = wanted.type == PluginFieldType::kCHAR ? readString(*found, field, attributes)
                                                                    : readNumbers(*found, field, attributes);
    if (!wrong.empty()) return wrong;
  }
  return "";
}

}  // namespace dyn2trt::tensorrt
