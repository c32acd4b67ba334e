# find_package(slipstream CONFIG PATHS "$(slipstream config --cmake)")
# slipstream_add_plugin(NAME source.c ...)
#
# Lies beside include/, in a checkout and in the wheel.
get_filename_component(slipstream_INCLUDE_DIR "${CMAKE_CURRENT_LIST_DIR}/../../../include" ABSOLUTE)

if(NOT TARGET slipstream::headers)
  add_library(slipstream::headers INTERFACE IMPORTED)
  set_target_properties(slipstream::headers PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${slipstream_INCLUDE_DIR}")
endif()

# A plugin NAME.so, which exports its constructor alone.
function(slipstream_add_plugin name)
  add_library(${name} MODULE ${ARGN})
  target_link_libraries(${name} PRIVATE slipstream::headers)
  set_target_properties(${name} PROPERTIES
    PREFIX "" SUFFIX ".so" C_STANDARD 11 CXX_STANDARD 17
    C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
endfunction()
