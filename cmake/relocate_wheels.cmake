# For ROS 2 installed from PyPI wheels only (the Makefile passes it as CMAKE_PROJECT_INCLUDE).
# The wheels' CMake targets name Python headers and libraries of the machine that built them; at the end of the
# configure step those are replaced on the imported targets by what this machine has. Nothing on disk is changed.
include_guard(GLOBAL)

function(relocate_wheel_targets)
  find_package(Python3 COMPONENTS Interpreter Development.Module NumPy QUIET)
  get_property(targets DIRECTORY "${CMAKE_SOURCE_DIR}" PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    foreach(property INTERFACE_INCLUDE_DIRECTORIES INTERFACE_SYSTEM_INCLUDE_DIRECTORIES)
      get_target_property(paths ${target} ${property})
      if(paths MATCHES "/opt/python/")
        list(FILTER paths EXCLUDE REGEX "^/opt/python/")
        list(APPEND paths ${Python3_INCLUDE_DIRS} ${Python3_NumPy_INCLUDE_DIRS})
        set_target_properties(${target} PROPERTIES ${property} "${paths}")
      endif()
    endforeach()
    # Bundled in the wheels and not needed to link against them.
    get_target_property(libraries ${target} INTERFACE_LINK_LIBRARIES)
    if(libraries MATCHES "/usr/lib64/|lttng-ust")
      list(FILTER libraries EXCLUDE REGEX "^/usr/lib64/|lttng-ust")
      set_target_properties(${target} PROPERTIES INTERFACE_LINK_LIBRARIES "${libraries}")
    endif()
  endforeach()
endfunction()

cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL relocate_wheel_targets)
