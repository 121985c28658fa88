"""ROS 2 side of nndepth; all but the nodes and diagnostics works without ROS installed."""
