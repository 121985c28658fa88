"""The ROS 2 side of nndepth; all of it except nodes and diagnostics works without ROS."""
