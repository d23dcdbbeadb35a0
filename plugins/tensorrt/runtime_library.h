// The TensorRT library that is loaded in this process. The plugin library links to none.
#pragma once

namespace dyn2trt::tensorrt {

// Address of a C function of TensorRT, null when no TensorRT that this library was compiled for is loaded.
void* findInTensorRT(char const* symbol);

// Whether TensorRT itself is loading this library, by its loadLibrary. To be asked while the library is being loaded.
bool loadedByTensorRT();

}  // namespace dyn2trt::tensorrt
