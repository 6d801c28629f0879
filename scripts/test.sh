#!/usr/bin/env bash
# Install what is missing and run the tests; arguments go to pytest: ./scripts/test.sh -k syntax
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh handler scripts tests
exec .venv/bin/python -m pytest "$@"
