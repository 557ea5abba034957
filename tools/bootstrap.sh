#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What stands between a bare clone and a run.
#   tools/bootstrap.sh venv EXTRAS   .venv with softnet (editable) and these extras, comma separated
#   tools/bootstrap.sh packages      the Debian packages of tools/debian-packages.txt, where root is there
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'softnet: %s\n' "$*" >&2; }

usable_python() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local candidate found_without_venv=""
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 /usr/bin/python3 python3.14 python}; do
        usable_python "$candidate" || continue
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "$candidate"
            return
        fi
        found_without_venv=$candidate
    done
    if [ -n "$found_without_venv" ]; then
        say "$found_without_venv is recent enough but cannot make virtual environments: its venv module is missing."
        say "On Debian and Ubuntu: apt-get install python3-venv"
    else
        say "no Python of version 3.11 or later found${PYTHON:+ at PYTHON=$PYTHON}."
        say "Install one (Debian: apt-get install python3 python3-venv) or say where it is: make PYTHON=/path/to/python3"
    fi
    exit 1
}

make_venv() {
    local extras=$1 python
    if ! usable_python .venv/bin/python; then
        python=$(find_python)
        say "making .venv with $python ($("$python" -V))"
        "$python" -m venv --clear .venv
    fi
    say "installing softnet[$extras] and its dependencies into .venv"
    .venv/bin/python -m pip install --disable-pip-version-check --editable ".[$extras]" ||
        { say "the installation failed; pip's own message stands above."; exit 1; }
    touch ".venv/.installed-$extras"
}

install_packages() {
    local package status missing=()
    if ! command -v dpkg-query >/dev/null; then
        say "not a Debian system: tests that need a package of tools/debian-packages.txt are skipped where it is missing."
        return
    fi
    while read -r package _; do
        case $package in "" | \#*) continue ;; esac
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$status" = installed ] || missing+=("$package")
    done <tools/debian-packages.txt
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        say "missing Debian packages: ${missing[*]}. The tests that need them are skipped:"
    else
        say "installing Debian packages: ${missing[*]}"
        if { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -qy --no-install-recommends install "${missing[@]}"; } >&2; then
            return
        fi
        say "these could not be installed: ${missing[*]}. The tests that need them are skipped:"
    fi
    for package in "${missing[@]}"; do
        grep "^$package[[:space:]]" tools/debian-packages.txt >&2
    done
    say "to have them: apt-get install ${missing[*]}"
}

case ${1:-} in
venv) make_venv "${2:?which extras?}" ;;
packages) install_packages ;;
*) sed -n '3,5s/^# //p' "$0" >&2; exit 2 ;;
esac
