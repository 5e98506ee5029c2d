#!/bin/sh
# Make a virtual environment with pip in it: tools/venv.sh FOLDER [PYTHON]
# Debian's and Ubuntu's python3 lacks what venv needs; then what is there is used (an installed pip,
# virtualenv, uv), then, where it may, apt installs it. Where nothing helps, one line says what to install.
set -eu

folder=$1
python=${2:-python3}

fail() {
    rm -rf "$folder"
    echo "secateur: $1" >&2
    exit 2
}

works() {
    [ -x "$folder/bin/python" ] && "$folder/bin/python" -m pip --version >/dev/null 2>&1
}

try() {
    works && return
    rm -rf "$folder"
    "$@" >/dev/null 2>&1 || true
}

venv_with_outer_pip() {
    "$python" -m venv --without-pip "$folder" && "$python" -m pip --python "$folder/bin/python" install pip
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

apt_install_venv() {
    as_root true && command -v apt-get || return
    echo "secateur: installing $package with apt-get" >&3
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package" </dev/null && return
    as_root apt-get update </dev/null
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package" </dev/null
}

apt_then_venv() {
    apt_install_venv && "$python" -m venv "$folder"
}

exec 3>&2
command -v "$python" >/dev/null || fail "$python is not installed; needed: Python 3.10 or newer (PYTHON=... names another)"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$python is Python $version; needed: 3.10 or newer (make PYTHON=python3.11 names another)"
package=python$version-venv

rm -rf "$folder"
try "$python" -m venv "$folder"
try venv_with_outer_pip
try "$python" -m virtualenv --python "$python" "$folder"
try virtualenv --python "$python" "$folder"
try uv venv --seed --python "$python" "$folder"
try apt_then_venv
works || fail "$python cannot make a virtual environment; install what it lacks with 'sudo apt-get install $package', then run make again"
