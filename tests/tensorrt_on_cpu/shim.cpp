// Stands in for libnvinfer: every call goes to the TensorRT-RTX core, which this library is linked to.
#include <dlfcn.h>

#include <cstdint>

template <class F>
static F core(char const* name) {
  return reinterpret_cast<F>(dlsym(RTLD_NEXT, name));
}

static int32_t coreVersion() { return core<int32_t (*)()>("getInferLibVersion")(); }

extern "C" {
// The bindings announce their own version, and the core accepts only its own.
void* createInferBuilder_INTERNAL(void* logger, int32_t) {
  return core<void* (*)(void*, int32_t)>("createInferBuilder_INTERNAL")(logger, coreVersion());
}

void* createInferRuntime_INTERNAL(void* logger, int32_t) {
  return core<void* (*)(void*, int32_t)>("createInferRuntime_INTERNAL")(logger, coreVersion());
}

void* createInferRefitter_INTERNAL(void* engine, void* logger, int32_t) {
  return core<void* (*)(void*, void*, int32_t)>("createInferRefitter_INTERNAL")(engine, logger, coreVersion());
}

bool initLibNvInferPlugins(void*, char const*) { return true; }
}
