#!/usr/bin/env bash
# Checks what the Makefile needs of the system for Python $1 (default python3). Where packages are
# missing, prints the one line that installs them and returns 1.
python=${1:-python3}
packages=()

need() { # need PACKAGE COMMAND...: the package is missing unless the command succeeds
  local package=$1
  shift
  "$@" &> /dev/null || packages+=("$package")
}
has_header() { [[ -e $("$python" -c 'import sysconfig as s; print(s.get_path("include"))')/Python.h ]]; }

if ! version=$("$python" -c 'import sys; print("{}.{}".format(*sys.version_info))'); then
  version=3
  packages+=(python3)
elif [[ $version != 3.1[12] ]]; then
  echo "$python is Python $version; run make with PYTHON=python3.11 or PYTHON=python3.12" >&2
  exit 2
fi
need make command -v make
need g++ command -v c++
need "python$version-venv" "$python" -c 'import ensurepip, venv'
need "python$version-dev" has_header
if [[ $(bash "$(dirname "$0")/find_ros.sh") == system ]]; then
  need python3-colcon-common-extensions command -v colcon
  need python3-numpy "$python" -c 'import numpy'
  need python3-opencv "$python" -c 'import cv2'
  need python3-tqdm "$python" -c 'import tqdm'
  need python3-yaml "$python" -c 'import yaml'
fi

if ((${#packages[@]})); then
  echo 'Missing on this system; install with' >&2
  echo "$( ((EUID == 0)) || echo 'sudo ')apt-get install -y ${packages[*]}"
  exit 1
fi
