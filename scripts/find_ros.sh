#!/usr/bin/env bash
# Prints 'system' where a ROS installation is sourced, else 'wheels': a virtual environment is none.
IFS=: read -ra prefixes <<< "${ROS_DISTRO:+${AMENT_PREFIX_PATH:-}}"
for prefix in "${prefixes[@]}"; do
  if [[ -e $prefix/share/rclpy && ! -e $prefix/pyvenv.cfg ]]; then
    echo system
    exit
  fi
done
echo wheels
