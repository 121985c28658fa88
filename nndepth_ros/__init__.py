"""ROS 2 side of nndepth: messages, nodes, bags. Conversions, synchroniser and bags need no ROS installed."""
