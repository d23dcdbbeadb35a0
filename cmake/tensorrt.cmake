# TensorRT's headers; its libraries are not needed. Looked for in TENSORRT_ROOT (a variable or in the environment), the
# system's folders, then /opt/TensorRT.
if(NOT DYN2TRT_TENSORRT STREQUAL "OFF")
  find_path(TENSORRT_INCLUDE_DIR NvInfer.h
    HINTS ${TENSORRT_ROOT} ENV TENSORRT_ROOT
    PATHS /opt/TensorRT
    PATH_SUFFIXES include include/${CMAKE_LIBRARY_ARCHITECTURE} include/x86_64-linux-gnu include/aarch64-linux-gnu)
  if(NOT DYN2TRT_HAS_CUDA)
    dyn2trt_missing(TENSORRT "it needs the CUDA core library")
  elseif(NOT TENSORRT_INCLUDE_DIR)
    dyn2trt_missing(TENSORRT "TensorRT's headers were not found (set TENSORRT_ROOT to the folder that holds include/NvInfer.h)")
  else()
    # TensorRT 10 writes "#define NV_TENSORRT_MAJOR 10", 11 "#define TRT_MAJOR_ENTERPRISE 11" behind it.
    file(STRINGS ${TENSORRT_INCLUDE_DIR}/NvInferVersion.h lines
      REGEX "#define +(NV_TENSORRT|TRT)_(MAJOR|MINOR|PATCH)(_ENTERPRISE)? +[0-9]+")
    set(TENSORRT_VERSION "")
    foreach(part MAJOR MINOR PATCH)
      string(REGEX MATCH "_${part}(_ENTERPRISE)? +([0-9]+)" _ "${lines}")
      string(APPEND TENSORRT_VERSION "${CMAKE_MATCH_2}.")
      set(TENSORRT_VERSION_${part} "${CMAKE_MATCH_2}")
    endforeach()
    string(REGEX REPLACE "\\.$" "" TENSORRT_VERSION "${TENSORRT_VERSION}")
    if(TENSORRT_VERSION VERSION_LESS 10.3)
      dyn2trt_missing(TENSORRT "TensorRT ${TENSORRT_VERSION} in ${TENSORRT_INCLUDE_DIR} is older than 10.3")
    else()
      dyn2trt_found(TENSORRT "the headers of TensorRT ${TENSORRT_VERSION} in ${TENSORRT_INCLUDE_DIR}")
    endif()
  endif()
endif()
