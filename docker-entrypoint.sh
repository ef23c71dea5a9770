#!/bin/sh
# What the image runs: its arguments, with one thing added and one word of its own.
#   enip_server       without tags serves SCADA=DINT[1000]
#   healthy           whether the gateway in this container answers; simulators have no say in it
set -eu

case "${1-}" in
enip_server)
    [ "$#" -gt 1 ] || set -- enip_server 'SCADA=DINT[1000]'
    ;;
healthy)
    case "$(tr '\0' ' ' </proc/1/cmdline)" in
    *cpppod.supervisord*) exec cpppoctl status >/dev/null ;;
    *) exit 0 ;;
    esac
    ;;
-*)
    set -- cpppod "$@"
    ;;
esac
exec "$@"
