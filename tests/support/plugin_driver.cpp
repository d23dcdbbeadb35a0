// Calls the plugins of a library as TensorRT does, from ctypes (tests/support/plugin_driver.py).
#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <cstring>
#include <vector>

using namespace nvinfer1;

extern "C" {

struct DriverField {
  char const* name;
  int32_t type;  // 0 float32, 1 int32, 2 string
  int32_t length;
  void const* data;
};

struct DriverTensor {
  int32_t type;    // 0 float32, 1 float16, 2 bfloat16, 3 int32
  int32_t format;  // 0 linear, 1 channels-last in vectors of 8
  int32_t rank;
  int32_t dims[8];
  void* data;
};
}

namespace {

PluginTensorDesc describe(DriverTensor const& tensor) {
  constexpr DataType kTypes[] = {DataType::kFLOAT, DataType::kHALF, DataType::kBF16, DataType::kINT32};
  PluginTensorDesc description{};
  description.type = kTypes[tensor.type];
  description.format = tensor.format == 0 ? TensorFormat::kLINEAR : TensorFormat::kHWC8;
  description.dims.nbDims = tensor.rank;
  for (int32_t i = 0; i < tensor.rank; ++i) description.dims.d[i] = tensor.dims[i];
  return description;
}

std::vector<DynamicPluginTensorDesc> describeDynamic(DriverTensor const* tensors, int32_t count) {
  std::vector<DynamicPluginTensorDesc> descriptions(static_cast<size_t>(count));
  for (int32_t i = 0; i < count; ++i) {
    auto& description = descriptions[static_cast<size_t>(i)];
    description.desc = describe(tensors[i]);
    description.min = description.opt = description.max = description.desc.dims;
  }
  return descriptions;
}

template <class Capability>
Capability* capability(void* plugin, PluginCapabilityType type) {
  return static_cast<Capability*>(static_cast<IPluginV3*>(plugin)->getCapabilityInterface(type));
}

IPluginV3OneBuild* building(void* plugin) {
  return capability<IPluginV3OneBuild>(plugin, PluginCapabilityType::kBUILD);
}

IPluginV3OneRuntime* running(void* plugin) {
  return capability<IPluginV3OneRuntime>(plugin, PluginCapabilityType::kRUNTIME);
}

}  // namespace

#define EXPORTED __attribute__((visibility("default")))

extern "C" {

// In a namespace of its own, where no TensorRT is loaded, whatever else this process has loaded: the plugins then log
// to stderr, and register nothing with the TensorRT that other tests use.
EXPORTED void* driver_open(char const* path) { return dlmopen(LM_ID_NEWLM, path, RTLD_NOW | RTLD_LOCAL); }

// The creator of an op, null when the library has none of that name.
EXPORTED void* driver_creator(void* library, char const* op) {
  using GetCreators = IPluginCreatorInterface* const* (*)(int32_t&);
  int32_t count = 0;
  auto* const* creators = reinterpret_cast<GetCreators>(dlsym(library, "getCreators"))(count);
  for (int32_t i = 0; i < count; ++i) {
    auto* creator = static_cast<IPluginCreatorV3One*>(creators[i]);
    if (std::strcmp(creator->getPluginName(), op) == 0) return creator;
  }
  return nullptr;
}

EXPORTED void* driver_create(void* creator, DriverField const* given, int32_t count) {
  constexpr PluginFieldType kTypes[] = {PluginFieldType::kFLOAT32, PluginFieldType::kINT32, PluginFieldType::kCHAR};
  std::vector<PluginField> fields;
  for (int32_t i = 0; i < count; ++i) {
    fields.emplace_back(given[i].name, given[i].data, kTypes[given[i].type], given[i].length);
  }
  PluginFieldCollection const collection{count, fields.data()};
  return static_cast<IPluginCreatorV3One*>(creator)->createPlugin("test", &collection, TensorRTPhase::kBUILD);
}

// What a plan does: the plugin's fields, copied, make a new one.
EXPORTED void* driver_deserialize(void* creator, void* plugin) {
  PluginFieldCollection const* saved = running(plugin)->getFieldsToSerialize();
  std::vector<std::vector<char>> bytes;
  std::vector<PluginField> fields;
  for (int32_t i = 0; i < saved->nbFields; ++i) {
    PluginField field = saved->fields[i];
    size_t const size = field.type == PluginFieldType::kCHAR ? 1 : 4;
    auto const* data = static_cast<char const*>(field.data);
    bytes.emplace_back(data, data + size * static_cast<size_t>(field.length));
    field.data = bytes.back().data();
    fields.push_back(field);
  }
  PluginFieldCollection const collection{saved->nbFields, fields.data()};
  return static_cast<IPluginCreatorV3One*>(creator)->createPlugin("test", &collection, TensorRTPhase::kRUNTIME);
}

EXPORTED void* driver_clone(void* plugin) { return static_cast<IPluginV3*>(plugin)->clone(); }

EXPORTED void* driver_attach(void* plugin) { return running(plugin)->attachToContext(nullptr); }

EXPORTED void driver_destroy(void* plugin) { delete static_cast<IPluginV3*>(plugin); }

// First tensor whose type or format the plugin does not take, -1 when it takes all.
EXPORTED int32_t driver_unsupported(void* plugin, DriverTensor const* tensors, int32_t inputs, int32_t outputs) {
  auto const descriptions = describeDynamic(tensors, inputs + outputs);
  for (int32_t i = 0; i < inputs + outputs; ++i) {
    if (!building(plugin)->supportsFormatCombination(i, descriptions.data(), inputs, outputs)) return i;
  }
  return -1;
}

// Bytes of workspace for these largest shapes, -1 when the plugin refuses them.
EXPORTED int64_t driver_configure(void* plugin, DriverTensor const* tensors, int32_t inputs, int32_t outputs) {
  auto const all = describeDynamic(tensors, inputs + outputs);
  auto const* out = all.data() + inputs;
  if (building(plugin)->configurePlugin(all.data(), inputs, out, outputs) != 0) return -1;
  return static_cast<int64_t>(building(plugin)->getWorkspaceSize(all.data(), inputs, out, outputs));
}

// 0, or the step that failed: 1 onShapeChange, 2 enqueue.
EXPORTED int32_t driver_run(void* plugin, DriverTensor const* tensors, int32_t inputs, int32_t outputs,
                            void* workspace) {
  std::vector<PluginTensorDesc> descriptions;
  std::vector<void*> data;
  for (int32_t i = 0; i < inputs + outputs; ++i) {
    descriptions.push_back(describe(tensors[i]));
    data.push_back(tensors[i].data);
  }
  auto const* out = descriptions.data() + inputs;
  if (running(plugin)->onShapeChange(descriptions.data(), inputs, out, outputs) != 0) return 1;
  return running(plugin)->enqueue(descriptions.data(), out, data.data(), data.data() + inputs, workspace, nullptr) == 0
             ? 0
             : 2;
}
}
