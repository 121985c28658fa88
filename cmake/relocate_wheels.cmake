# For ROS 2 from PyPI wheels only: the Makefile passes this file as CMAKE_PROJECT_INCLUDE. At the end of the configure
# step it mends include and link paths of targets; no file of the wheels is changed.
include_guard(GLOBAL)

function(relocate_wheel_targets)
  find_package(Python3 COMPONENTS Interpreter Development.Module NumPy QUIET)

  # The wheels name Python headers and libraries of the machine that built them.
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

  # CMake exports no paths below the source folder, where NumPy's headers lie in .venv.
  get_property(targets DIRECTORY "${CMAKE_SOURCE_DIR}" PROPERTY BUILDSYSTEM_TARGETS)
  list(FILTER targets INCLUDE REGEX "__rosidl_generator_py$")
  foreach(target IN LISTS targets)
    get_target_property(paths ${target} INTERFACE_INCLUDE_DIRECTORIES)
    list(TRANSFORM paths REPLACE "^/.+" "$<BUILD_INTERFACE:\\0>")
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${paths}")
  endforeach()
endfunction()

cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL relocate_wheel_targets)
