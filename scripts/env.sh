# To be sourced by bash: the environment in which the workspace is built, tested and run.
nndepth_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$nndepth_root/.venv/bin/activate"
if [[ -e $VIRTUAL_ENV/share/rclpy ]]; then # ROS came as wheels
  export ROS_DISTRO=jazzy ROS_VERSION=2 ROS_PYTHON_VERSION=3
  export AMENT_PREFIX_PATH=$VIRTUAL_ENV CMAKE_PREFIX_PATH=$VIRTUAL_ENV
  export COLCON_LOG_LEVEL=error # it would warn that .venv has no local_setup.bash
fi
export ROS_AUTOMATIC_DISCOVERY_RANGE=${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}
if [[ -z ${HOME:-} ]]; then # rclpy writes its logs to one of the two
  export ROS_LOG_DIR=${ROS_LOG_DIR:-$nndepth_root/log}
fi
if [[ -e $nndepth_root/install/local_setup.bash ]]; then
  . "$nndepth_root/install/local_setup.bash"
fi
unset nndepth_root
