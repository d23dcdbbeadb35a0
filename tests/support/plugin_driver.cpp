// Calls the plugins of a library as TensorRT does, from ctypes (tests/support/plugin_driver.py). Memory and stream are
// the caller's, so that the same driver serves plugins on a GPU and over the CPU emulator.
#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstring>
#include <deque>
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

constexpr DataType kTypes[] = {DataType::kFLOAT, DataType::kHALF, DataType::kBF16, DataType::kINT32};

PluginTensorDesc describe(DriverTensor const& tensor) {
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

class Size : public IDimensionExpr, public apiv::VDimensionExpr {
 public:
  explicit Size(int64_t value) : value_(value) { mImpl = this; }
  bool isConstant() const override { return true; }
  int64_t getConstantValue() const override { return value_; }
  bool isSizeTensor() const override { return false; }

 private:
  int64_t value_;
};

// Makes and owns sizes, all of them known.
class Sizes : public IExprBuilder, public apiv::VExprBuilder {
 public:
  Sizes() { mImpl = this; }

  IDimensionExpr const* constant(int64_t value) override { return &made_.emplace_back(value); }

  IDimensionExpr const* operation(DimensionOperation op, IDimensionExpr const& first,
                                  IDimensionExpr const& second) override {
    int64_t const a = first.getConstantValue();
    int64_t const b = second.getConstantValue();
    switch (op) {
      case DimensionOperation::kSUM:
        return constant(a + b);
      case DimensionOperation::kPROD:
        return constant(a * b);
      case DimensionOperation::kMAX:
        return constant(std::max(a, b));
      case DimensionOperation::kMIN:
        return constant(std::min(a, b));
      case DimensionOperation::kSUB:
        return constant(a - b);
      case DimensionOperation::kEQUAL:
        return constant(a == b);
      case DimensionOperation::kLESS:
        return constant(a < b);
      case DimensionOperation::kFLOOR_DIV:
        return constant(a / b);
      case DimensionOperation::kCEIL_DIV:
        return constant((a + b - 1) / b);
    }
    return nullptr;
  }

  // No plugin here has sizes that depend on data.
  IDimensionExpr const* declareSizeTensor(int32_t, IDimensionExpr const&, IDimensionExpr const&) override {
    return nullptr;
  }

 private:
  std::deque<Size> made_;
};

}  // namespace

#define EXPORTED __attribute__((visibility("default")))

extern "C" {

// `isolated`: in a namespace of its own, where no TensorRT is loaded, whatever else this process has loaded. The
// plugins then log to stderr, and register nothing with the TensorRT that other tests use. A library that uses a GPU
// has to share the process's CUDA driver, and so its namespace. Null, with a reason in dlerror, when it does not load.
EXPORTED void* driver_open(char const* path, int32_t isolated) {
  return isolated != 0 ? dlmopen(LM_ID_NEWLM, path, RTLD_NOW | RTLD_LOCAL) : dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

EXPORTED char const* driver_open_error() { return dlerror(); }

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

// The formats that the plugin takes for the tensor at `position`, the others being as described, of all that TensorRT
// has: a sum of 1 for linear, 2 for channels-last in vectors of 8, and 4 for any other.
EXPORTED int32_t driver_formats(void* plugin, DriverTensor const* tensors, int32_t inputs, int32_t outputs,
                                int32_t position) {
  auto descriptions = describeDynamic(tensors, inputs + outputs);
  int32_t taken = 0;
  for (int32_t i = 0; i < EnumMax<TensorFormat>(); ++i) {
    auto const format = static_cast<TensorFormat>(i);
    descriptions[static_cast<size_t>(position)].desc.format = format;
    if (!building(plugin)->supportsFormatCombination(position, descriptions.data(), inputs, outputs)) continue;
    taken |= format == TensorFormat::kLINEAR ? 1 : format == TensorFormat::kHWC8 ? 2 : 4;
  }
  return taken;
}

// Writes type, rank and dims of the outputs for these inputs. 0, or the step that failed: 1 the number of outputs, 2
// their types, 3 their shapes, 4 a type that the driver does not know.
EXPORTED int32_t driver_output_shapes(void* plugin, DriverTensor const* given, int32_t inputs, DriverTensor* out,
                                      int32_t outputs) {
  auto* const build = building(plugin);
  if (build->getNbOutputs() != outputs) return 1;
  Sizes sizes;
  std::vector<DataType> types(static_cast<size_t>(inputs));
  std::vector<DataType> outTypes(static_cast<size_t>(outputs));
  std::vector<DimsExprs> shapes(static_cast<size_t>(inputs));
  std::vector<DimsExprs> outShapes(static_cast<size_t>(outputs));
  for (size_t i = 0; i < shapes.size(); ++i) {
    types[i] = kTypes[given[i].type];
    shapes[i].nbDims = given[i].rank;
    for (int32_t axis = 0; axis < given[i].rank; ++axis) shapes[i].d[axis] = sizes.constant(given[i].dims[axis]);
  }
  if (build->getOutputDataTypes(outTypes.data(), outputs, types.data(), inputs) != 0) return 2;
  if (build->getOutputShapes(shapes.data(), inputs, nullptr, 0, outShapes.data(), outputs, sizes) != 0) return 3;
  for (size_t i = 0; i < outShapes.size(); ++i) {
    auto const* const type = std::find(std::begin(kTypes), std::end(kTypes), outTypes[i]);
    if (type == std::end(kTypes)) return 4;
    out[i].type = static_cast<int32_t>(type - std::begin(kTypes));
    out[i].rank = outShapes[i].nbDims;
    for (int32_t axis = 0; axis < out[i].rank; ++axis) {
      out[i].dims[axis] = static_cast<int32_t>(outShapes[i].d[axis]->getConstantValue());
    }
  }
  return 0;
}

// Bytes of workspace for these largest shapes, -1 when the plugin refuses them.
EXPORTED int64_t driver_configure(void* plugin, DriverTensor const* tensors, int32_t inputs, int32_t outputs) {
  auto const all = describeDynamic(tensors, inputs + outputs);
  auto const* out = all.data() + inputs;
  if (building(plugin)->configurePlugin(all.data(), inputs, out, outputs) != 0) return -1;
  return static_cast<int64_t>(building(plugin)->getWorkspaceSize(all.data(), inputs, out, outputs));
}

// Enqueues on a stream, null for the default one. 0, or the step that failed: 1 onShapeChange, 2 enqueue.
EXPORTED int32_t driver_run(void* plugin, DriverTensor const* tensors, int32_t inputs, int32_t outputs, void* workspace,
                            void* stream) {
  std::vector<PluginTensorDesc> descriptions;
  std::vector<void*> data;
  for (int32_t i = 0; i < inputs + outputs; ++i) {
    descriptions.push_back(describe(tensors[i]));
    data.push_back(tensors[i].data);
  }
  auto const* out = descriptions.data() + inputs;
  if (running(plugin)->onShapeChange(descriptions.data(), inputs, out, outputs) != 0) return 1;
  auto* const cudaStream = static_cast<cudaStream_t>(stream);
  return running(plugin)->enqueue(descriptions.data(), out, data.data(), data.data() + inputs, workspace, cudaStream)
             ? 2
             : 0;
}
}
