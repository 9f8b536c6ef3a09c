#!/usr/bin/env bash
# environment.sh VENV [PYTHON]: a virtual environment with Python 3.10.
# Where the machine has no Python 3.10, uv fetches one; both stay beside the environment, in VENV-uv.
set -euo pipefail
venv=$1 given=${2:-} uv_home=$1-uv
version=$(cat "$(dirname "$0")/../.python-version")

has_version() { [[ $("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) == "$version" ]]; }

if [[ -n $given ]] && ! has_version "$given"; then
  echo "$given is not Python $version, which Tessera needs: say make PYTHON=/path/to/python$version" >&2
  exit 2
fi
python=${given:-python$version} wanted=$version
if has_version "$python"; then
  # Some distributions leave out what `venv` needs; uv does without.
  "$python" -m venv "$venv" >/dev/null 2>&1 && exit
  rm -rf "$venv"
  wanted=$(command -v "$python")
fi

find_uv() {
  if command -v uv; then return; fi
  mkdir -p "$uv_home"
  if [[ ! -x $uv_home/bin/uv ]]; then
    python3 -m pip install --quiet --disable-pip-version-check --target "$uv_home" uv ||
      { rm -rf "$uv_home" && python3 -m venv "$uv_home" && "$uv_home/bin/pip" install --quiet uv; }
  fi >&2
  echo "$uv_home/bin/uv"
}

echo "This machine has no usable Python $version: uv sets one up beside $venv." >&2
export UV_PYTHON_INSTALL_DIR=${UV_PYTHON_INSTALL_DIR:-$(realpath -m "$uv_home")/pythons}
if uv=$(find_uv 2>/dev/null) && "$uv" venv --quiet --python "$wanted" "$venv" &&
  { "$venv/bin/python" -m ensurepip >/dev/null 2>&1 ||
    "$uv" pip install --quiet --python "$venv/bin/python" pip; } &&
  "$venv/bin/python" -m pip --version >/dev/null; then
  ln -sf pip3 "$venv/bin/pip"
  echo "Python $("$venv/bin/python" -V | cut -d' ' -f2) is in $venv." >&2
  exit
fi
rm -rf "$venv" "$uv_home"
cat >&2 <<END
Tessera needs Python $version: this machine has none, and uv could not fetch one. Ways to get it:
  uv             pipx install uv && uv python install $version    (needs GitHub, or UV_PYTHON_INSTALL_MIRROR)
  conda          conda create -p ./python$version python=$version
  pyenv          pyenv install $version
  Ubuntu         add-apt-repository ppa:deadsnakes/ppa && apt-get install python$version python$version-venv
  Fedora         dnf install python$version
Then: make PYTHON=/path/to/python$version
END
exit 2
