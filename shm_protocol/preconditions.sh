#!/bin/sh
# Checks what the build needs from the machine. Everything missing is named, with the command that installs
# it, and the script fails. Otherwise it records the Python found in the file RECORD, which it rewrites only when
# that changes: make builds the virtual environment anew when RECORD is newer.
#
#   preconditions.sh PYTHON RECORD
set -u
python=$1 record=$2
[ "$(id -u)" = 0 ] && sudo= || sudo='sudo '
complaints=

# lacks WHAT DEBIAN_PACKAGES FEDORA_PACKAGES
lacks() {
  if command -v apt-get >/dev/null; then how="${sudo}apt-get install $2"
  elif command -v dnf >/dev/null; then how="${sudo}dnf install $3"
  else how="install it with this system's package manager"
  fi
  complain "$1" "$how"
}

complain() {
  complaints="$complaints
  $1
      $2"
}

[ "$(uname -s)" = Linux ] || complain "Linux: the bridge's rings and wake-ups are Linux's" "docker compose up --build"

# Runs on any Python, also a 2.7 or a 3.6, to be able to say that it is too old.
found=$("$python" -E -S -c '
import sys
version = ".".join(map(str, sys.version_info[:3]))
if sys.version_info < (3, 11):
    print("old " + version)
else:
    import importlib.util, os, sysconfig
    if not importlib.util.find_spec("venv") or not importlib.util.find_spec("ensurepip"):
        print("novenv %d.%d" % sys.version_info[:2])
    elif not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
        print("noheaders %d.%d" % sys.version_info[:2])
    else:
        print("ok " + version + " " + sys.executable)
' 2>/dev/null) || found=none
case $found in
  ok\ *) ;;
  novenv\ *) lacks "the venv module of $python" "python${found#* }-venv" "python3" ;;
  noheaders\ *) lacks "the C headers of $python (Python.h)" "python${found#* }-dev" "python3-devel" ;;
  *)
    what="Python 3.11 or newer"
    [ "$found" = none ] && what="$what ($python does not run)" || what="$what ($python is ${found#old })"
    newer=
    for name in python3.11 python3.12 python3.13 python3.14 python3; do
      "$name" -E -S -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && newer=$name
    done
    if [ -n "$newer" ]; then complain "$what" "make PYTHON=$newer ..."
    else lacks "$what" "python3 python3-venv python3-dev" "python3 python3-devel"
    fi ;;
esac

node=$(node -p process.versions.node 2>/dev/null) || node=none
if [ "$node" = none ]; then
  lacks "Node.js 20 or newer (node does not run)" "nodejs npm   (Debian 13, Ubuntu 25.04 or newer; before: nvm install 22)" "nodejs npm"
else
  [ "${node%%.*}" -ge 20 ] || complain "Node.js 20 or newer (node is $node)" "nvm install 22, or a newer package of nodejs"
  command -v npm >/dev/null || lacks "npm" "npm" "npm"
fi

echo '#include <stdlib.h>
#include <stdatomic.h>' | "${CC:-cc}" -std=c11 -fsyntax-only -x c - 2>/dev/null ||
  lacks "a C11 compiler with the C library's headers (${CC:-cc})" "build-essential" "gcc glibc-devel"

[ -z "$complaints" ] || { echo "make: this machine lacks what the build needs; each with the command to run:$complaints" >&2; exit 1; }
[ -f "$record" ] && [ "$(cat "$record")" = "$found" ] || { mkdir -p "$(dirname "$record")" && echo "$found" >"$record"; }
