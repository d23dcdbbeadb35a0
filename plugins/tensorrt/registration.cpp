// How TensorRT finds the creators: by the two functions that its loadLibrary calls, and, for programs that merely
// dlopen the library (trtexec --staticPlugins, Polygraphy --plugins), by registering them while it is being loaded.
#include <NvInferRuntime.h>
#include <NvInferVersion.h>

#include "creator.h"
#include "dyn2trt/contract.h"
#include "log.h"
#include "plugin.h"
#include "runtime_library.h"

#define DYN2TRT_TEXT_(x) #x
#define DYN2TRT_TEXT(x) DYN2TRT_TEXT_(x)

#if !defined(DYN2TRT_VERSION) || !defined(DYN2TRT_CUDA_VERSION)
#error "the build gives DYN2TRT_VERSION and DYN2TRT_CUDA_VERSION, as strings"
#endif

namespace dyn2trt::tensorrt {
namespace {

// Read from the file by dyn2trt.engine.plugin_library, without loading it.
#define DYN2TRT_TENSORRT \
  DYN2TRT_TEXT(NV_TENSORRT_MAJOR) "." DYN2TRT_TEXT(NV_TENSORRT_MINOR) "." DYN2TRT_TEXT(NV_TENSORRT_PATCH)
[[gnu::used]] char const kMarker[] = "dyn2trt-plugins version=" DYN2TRT_VERSION " contract=" DYN2TRT_CONTRACT_VERSION
                                     " tensorrt=" DYN2TRT_TENSORRT " cuda=" DYN2TRT_CUDA_VERSION;

[[gnu::constructor]] void registerSelf() {
  // loadLibrary registers what getCreators returns, and refuses a library whose creators are there already.
  if (loadedByTensorRT()) return;
  using GetRegistry = nvinfer1::IPluginRegistry* (*)();
  auto* const getRegistry = reinterpret_cast<GetRegistry>(findInTensorRT("getPluginRegistry"));
  nvinfer1::IPluginRegistry* const registry = getRegistry != nullptr ? getRegistry() : nullptr;
  if (registry == nullptr) return;
  for (nvinfer1::IPluginCreatorInterface* creator : allCreators()) registry->registerCreator(*creator, kNamespace);
}

}  // namespace
}  // namespace dyn2trt::tensorrt

extern "C" {

[[gnu::visibility("default")]] void setLoggerFinder(nvinfer1::ILoggerFinder* finder) {
  dyn2trt::tensorrt::setLoggerFinder(finder);
}

[[gnu::visibility("default")]] nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& nbCreators) {
  auto const& creators = dyn2trt::tensorrt::allCreators();
  nbCreators = static_cast<int32_t>(creators.size());
  return creators.data();
}
}
