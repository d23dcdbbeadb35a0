# Parts that are built when they can be (AUTO), must be (ON) or shall not be (OFF), and a summary that says which were
# and why the others were not.

set(DYN2TRT_PARTS "" CACHE INTERNAL "")

macro(dyn2trt_option name default doc)
  set(DYN2TRT_${name} ${default} CACHE STRING "${doc}: AUTO, ON or OFF")
  set_property(CACHE DYN2TRT_${name} PROPERTY STRINGS AUTO ON OFF)
  if(NOT DYN2TRT_${name} MATCHES "^(AUTO|ON|OFF)$")
    message(FATAL_ERROR "DYN2TRT_${name} is AUTO, ON or OFF, not ${DYN2TRT_${name}}")
  endif()
  list(APPEND DYN2TRT_PARTS ${name})
  set(DYN2TRT_DOC_${name} "${doc}")
  set(DYN2TRT_HAS_${name} FALSE)
endmacro()

# The part can be built: detail says with what.
macro(dyn2trt_found name detail)
  set(DYN2TRT_HAS_${name} TRUE)
  set(DYN2TRT_DETAIL_${name} "${detail}")
endmacro()

# The part cannot be built: an error when it was asked for.
macro(dyn2trt_missing name why)
  set(DYN2TRT_DETAIL_${name} "${why}")
  if(DYN2TRT_${name} STREQUAL "ON")
    message(FATAL_ERROR "DYN2TRT_${name}=ON, but ${why}")
  endif()
endmacro()

function(dyn2trt_summary)
  foreach(name IN LISTS DYN2TRT_PARTS)
    if(DYN2TRT_HAS_${name})
      message(STATUS "dyn2trt: ${DYN2TRT_DOC_${name}}: built with ${DYN2TRT_DETAIL_${name}}")
    elseif(DYN2TRT_${name} STREQUAL "OFF")
      message(STATUS "dyn2trt: ${DYN2TRT_DOC_${name}}: not built, DYN2TRT_${name}=OFF")
    else()
      message(WARNING "dyn2trt: ${DYN2TRT_DOC_${name}}: NOT BUILT, ${DYN2TRT_DETAIL_${name}}. "
                      "The Python package works without it; DYN2TRT_${name}=OFF silences this.")
    endif()
  endforeach()
endfunction()
