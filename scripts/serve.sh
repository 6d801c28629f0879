#!/usr/bin/env bash
# From a fresh clone to a paraphrase: install what is missing, build the archive, start TorchServe, send an example.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'TEXT'
./scripts/serve.sh               serve model_store/demo on the ports of config.properties (127.0.0.1:8080)
./scripts/serve.sh --port 9090   on this port; management and gRPC on free ones
./scripts/serve.sh --stop        stop the server
The log is .cache/logs/torchserve.log.
TEXT
}

case "${1-}" in
  --help | -h) usage; exit ;;
  --stop)
    if [ $# -eq 1 ]; then
      if [ -x .venv/bin/python ]; then exec .venv/bin/python -m scripts.serve stop; fi
      echo "No server is running."
      exit
    fi ;;
  --port) if [ $# -eq 2 ] && [[ $2 =~ ^[0-9]{1,5}$ ]]; then port=$2; fi ;;
esac
if [ $# -ne 0 ] && [ -z "${port-}" ]; then
  printf 'serve.sh does not understand "%s"; see ./scripts/serve.sh --help.\n' "$*" >&2
  exit 2
fi

./scripts/setup.sh
.venv/bin/python -m scripts.build_archive --if-changed
exec .venv/bin/python -m scripts.serve start ${port:+--port "$port"}
