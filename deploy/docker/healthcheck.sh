#!/bin/bash
# Succeeds when a version of the model is loaded. The image has no curl, so bash asks.
# Not /v1/models/NAME: the server answers that with 200 also when every version failed to load.
set -u
path="/v1/models/${MODEL_NAME:-tessera}/metadata"
exec 3<>"/dev/tcp/127.0.0.1/${REST_PORT:-8501}" || exit 1
printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$path" >&3
read -r -t "${HEALTHCHECK_TIMEOUT_S:-4}" _ status _ <&3 || exit 1
[[ "$status" == 200 ]]
