#include "runtime_library.h"

#include <NvInferVersion.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>

#include <cstring>
#include <string>
#include <vector>

namespace dyn2trt::tensorrt {
namespace {

char const* baseName(char const* path) {
  char const* slash = std::strrchr(path, '/');
  return slash != nullptr ? slash + 1 : path;
}

bool startsWith(char const* text, char const* start) { return std::strncmp(text, start, std::strlen(start)) == 0; }

// Files of TensorRT, and of TensorRT-RTX whose plugin interfaces are those of TensorRT 11.
bool isTensorRT(char const* path) {
  char const* name = baseName(path);
  std::string const ours = "libnvinfer.so." + std::to_string(NV_TENSORRT_MAJOR);
  bool const exact = startsWith(name, ours.c_str()) && (name[ours.size()] == '\0' || name[ours.size()] == '.');
  return exact || (NV_TENSORRT_MAJOR == 11 && startsWith(name, "libtensorrt_rtx.so."));
}

int collect(dl_phdr_info* info, size_t, void* paths) {
  if (isTensorRT(info->dlpi_name)) static_cast<std::vector<std::string>*>(paths)->push_back(info->dlpi_name);
  return 0;
}

}  // namespace

void* findInTensorRT(char const* symbol) {
  // Not through the global scope: TensorRT may have been loaded outside it, as Python's import and trtexec do.
  std::vector<std::string> paths;
  dl_iterate_phdr(collect, &paths);
  for (std::string const& path : paths) {
    void* const library = dlopen(path.c_str(), RTLD_LAZY | RTLD_NOLOAD);
    if (library == nullptr) continue;
    void* const address = dlsym(library, symbol);
    dlclose(library);  // drops the reference that RTLD_NOLOAD took; the library stays
    if (address != nullptr) return address;
  }
  return nullptr;
}

bool loadedByTensorRT() {
  void* frames[64];
  int const depth = backtrace(frames, 64);
  for (int i = 0; i < depth; ++i) {
    Dl_info info{};
    if (dladdr(frames[i], &info) != 0 && info.dli_fname != nullptr && isTensorRT(info.dli_fname)) return true;
  }
  return false;
}

}  // namespace dyn2trt::tensorrt
