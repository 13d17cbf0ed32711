#!/bin/sh
# Make sure that the Debian packages given as arguments are there: install them when we are root,
# otherwise say the one line that does. On other systems there is nothing to do.
command -v dpkg-query >/dev/null 2>&1 || exit 0
missing=""
for package in "$@"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" -eq 0 ]; then
  echo "Installing system packages:$missing"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >/dev/null
else
  echo "Some system packages are missing. Install them, then run the same command again:" >&2
  echo "  sudo apt-get install$missing" >&2
  exit 1
fi
