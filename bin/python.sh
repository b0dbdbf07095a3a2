# Sourced by the commands beside it: sets $python to a Python that is new enough, or says in one line that there is none.
# 3.11 first: that is what the pins were tried on. The variables would send it to other files, or make every start slow.
unset PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH

for python in "${PYTHON:-}" python3.11 python3.12 python3.13 python3; do
    [ -n "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
    python=
done
if [ -z "$python" ]; then
    found=$({ python3 -V || echo none; } 2>/dev/null)
    echo "$0: Python 3.11 or newer is needed; found $found. Install one, or name it: PYTHON=/path/to/python3 $0" >&2
    exit 2
fi
