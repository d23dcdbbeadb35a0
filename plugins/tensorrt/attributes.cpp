#include "attributes.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace dyn2trt::tensorrt {
namespace {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

contract::AttributeSpec const& specOf(Attribute attribute) {
  return contract::kAttributes[static_cast<size_t>(attribute)];
}

PluginFieldType typeOf(contract::AttributeSpec const& spec) {
  switch (spec.kind) {
    case contract::Kind::kFloats:
      return PluginFieldType::kFLOAT32;
    case contract::Kind::kString:
      return PluginFieldType::kCHAR;
    default:
      return PluginFieldType::kINT32;
  }
}

void* valueOf(Attribute attribute, Attributes& attributes) {
  return reinterpret_cast<char*>(&attributes) + specOf(attribute).offset;
}

std::vector<char const*> choicesOf(Attribute attribute) {
  if (attribute == Attribute::kActivation)
    return {std::begin(contract::kActivations), std::end(contract::kActivations)};
  return {std::begin(contract::kReductions), std::end(contract::kReductions)};
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
  contract::AttributeSpec const& wanted = specOf(attribute);
  if (field.length != wanted.length) {
    return std::string(field.name) + " has " + std::to_string(wanted.length) + " elements, not " +
           std::to_string(field.length);
  }
  std::memcpy(valueOf(attribute, attributes), field.data, static_cast<size_t>(wanted.length) * sizeof(int32_t));
  if (wanted.kind == contract::Kind::kFloats) return "";
  auto const* values = static_cast<int32_t const*>(valueOf(attribute, attributes));
  for (int32_t i = 0; i < wanted.length; ++i) {
    if (values[i] < wanted.least) {
      return std::string(field.name) + " is at least " + std::to_string(wanted.least) + ", not " +
             std::to_string(values[i]);
    }
  }
  return "";
}

}  // namespace

Dyn2trtGeometry geometryOf(Attributes const& a) {
  return {a.kernel_shape[0], a.kernel_shape[1], a.strides[0], a.strides[1],   a.pads[0],
          a.pads[1],         a.pads[2],         a.pads[3],    a.dilations[0], a.dilations[1]};
}

std::vector<Attribute> attributesOf(contract::Op const& schema) {
  return {schema.attributes, schema.attributes + schema.n_attributes};
}

PluginField describe(Attribute attribute) {
  contract::AttributeSpec const& spec = specOf(attribute);
  return {spec.name, nullptr, typeOf(spec), spec.length};
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
      return std::strcmp(specOf(attribute).name, field.name) == 0;
    });
    if (found == list.end()) {
      std::vector<char const*> known;
      for (Attribute const attribute : list) known.push_back(specOf(attribute).name);
      return std::string("there is no attribute ") + field.name + "; there are " + join(known);
    }
    contract::AttributeSpec const& wanted = specOf(*found);
    PluginFieldType const type = typeOf(wanted);
    if (field.type != type || field.data == nullptr) {
      return std::string(field.name) + " is " + nameOf(type) + ", not " + nameOf(field.type);
    }
    std::string const wrong =
        type == PluginFieldType::kCHAR ? readString(*found, field, attributes) : readNumbers(*found, field, attributes);
    if (!wrong.empty()) return wrong;
  }
  return "";
}

}  // namespace dyn2trt::tensorrt
