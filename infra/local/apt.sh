#!/bin/sh
# Installs Debian packages, and starts none of their services: `sh apt.sh PACKAGE...`
#
# apt starts what it installs (RabbitMQ would then listen on every interface), so a policy-rc.d that
# forbids it stands in the way while apt runs. What stood there before comes back however this
# script ends; after a kill -9, or when two run at once, the next one puts it back.
# Needs root or a sudo that asks for nothing, and else says what to type. Talks on stderr only.
set -eu
exec >&2

if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        exec sudo -n sh "$0" "$@"
    fi
    echo "These packages are missing, and this user may not install them. Run:"
    echo "    sudo sh $(realpath "$0") $*"
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    echo "This is not Debian or Ubuntu: please install by hand what is called there: $*"
    exit 1
fi

policy=/usr/sbin/policy-rc.d
saved=$policy.before-dueq
mark='# dueq: no service may start while its package is installed'

forbid_services() {
    [ -e "$policy" ] && mv "$policy" "$saved"
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
    chmod 755 "$policy"
}

restore_policy() {
    if [ -e "$saved" ]; then
        mv -f "$saved" "$policy"
    elif [ -e "$policy" ] && grep -qF "$mark" "$policy"; then
        rm -f "$policy"
    fi
}

lists_are_fresh() {
    # The time of the download is ctime; mtime is the server's.
    [ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -ctime -1 -print -quit 2>/dev/null)" ]
}

install() {
    apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=120 \
        -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "$@" 9>&-
}

exec 9>/run/dueq-apt.lock
flock 9
export DEBIAN_FRONTEND=noninteractive
trap restore_policy EXIT
trap 'exit 1' HUP INT TERM
restore_policy
forbid_services
if lists_are_fresh && install "$@"; then
    exit 0
fi
apt-get update -qq -o DPkg::Lock::Timeout=120 9>&-
install "$@"
