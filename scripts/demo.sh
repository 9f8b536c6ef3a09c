#!/usr/bin/env bash
# The main job on generated data, from nothing to one user's recommendations.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ ! -d data/demo ]; then
  tessera data generate --out data/demo --users 3000 --items 2000 --topics 40 --days 30 --seed 7
fi
tessera run --conf conf/demo.yaml
echo
tessera recommend --bundle runs/demo/serving/demo --user u7 -n 12
