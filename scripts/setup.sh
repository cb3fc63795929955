#!/bin/sh
# Installs what is missing to build and test longhand on Debian and its relatives, and says what.
#
#   scripts/setup.sh            what the build needs
#   scripts/setup.sh --check    and what the tests need; as root on Debian also the emulated aarch64
#   scripts/setup.sh --develop  and clang, clang-format, shellcheck
#   scripts/setup.sh --python   and .venv with scripts/requirements.txt (training, reference values)
#   scripts/setup.sh --has-aarch64   installs nothing; succeeds when the aarch64 tests can run here
# shellcheck disable=SC2086,SC2016 # lists are meant to be split; ${} of dpkg-query
set -eu
cd "$(dirname "$0")/.."

build='gcc make pkg-config libc6-dev libpcre2-dev libcjson-dev libedit-dev libstb-dev'
check='check'
develop='clang libclang-rt-dev libomp-dev clang-format shellcheck'
python='python3-venv'
aarch64='gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
    check:arm64 libcjson-dev:arm64 libgomp1:arm64 libpcre2-8-0:arm64'

# Prints those of the packages "$@" that are not installed.
missing() {
    state='${db:Status-Status}'
    found=$(dpkg-query -W -f "$state"' ${Package}, '"$state"' ${Package}:${Architecture}, ' "$@" \
        2>/dev/null) || true
    for package in "$@"; do
        case ", $found" in
        *", installed $package, "*) ;;
        *) printf '%s ' "$package" ;;
        esac
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        DEBIAN_FRONTEND=noninteractive "$@"
    elif command -v sudo >/dev/null; then
        sudo DEBIAN_FRONTEND=noninteractive "$@"
    else
        echo "setup: needs root (or sudo) for: $*" >&2
        return 1
    fi
}

# Installs packages "$@".
install() {
    echo "setup: installing $*"
    as_root apt-get -qq update
    as_root apt-get -qq install --yes --no-install-recommends "$@" >/dev/null
}

has_aarch64() {
    command -v dpkg-query >/dev/null && [ "$(dpkg --print-architecture)" != arm64 ] &&
        [ -z "$(missing $aarch64)" ]
}

# Not needed to build or use longhand, so failing here is a remark.
install_aarch64() {
    has_aarch64 && return
    if [ "$(id -u)" != 0 ] || [ "$(dpkg --print-architecture)" != amd64 ] ||
        ! grep -q '^ID=debian' /etc/os-release; then
        echo "setup: no emulated aarch64 tests (only root on Debian amd64 sets them up)"
        return
    fi
    dpkg --add-architecture arm64
    install $aarch64 || echo "setup: no aarch64 packages here, so no emulated tests"
}

# Other systems: the packages' names are theirs, so only look.
elsewhere() {
    libraries='libpcre2-8 libcjson libedit'
    [ -z "$1" ] || libraries="$libraries check"
    command -v cc >/dev/null && pkg-config --exists $libraries && return
    cat >&2 <<TEXT
setup: this is not Debian or Ubuntu; please install a C11 compiler with OpenMP, make, pkg-config
and the development files of PCRE2, cJSON, libedit and (for the tests) Check:
  Fedora dnf install gcc make pkgconf pcre2-devel cjson-devel libedit-devel stb-devel check-devel
  Arch   pacman -S gcc make pkgconf pcre2 cjson libedit stb check
  SUSE   zypper in gcc make pkg-config pcre2-devel cJSON-devel libedit-devel stb-devel check-devel
  Alpine apk add gcc make pkgconf musl-dev pcre2-dev cjson-dev libedit-dev stb check-dev
TEXT
    return 1
}

wanted=$build
option=${1-}
case "$option" in
'') ;;
--check) wanted="$build $check" ;;
--develop) wanted="$build $check $develop" ;;
--python) wanted="$build $python" ;;
--has-aarch64)
    has_aarch64
    exit
    ;;
*)
    sed -n '2,/^# shellcheck/{/^# shellcheck/!s/^# \{0,1\}//p}' "$0"
    exit 2
    ;;
esac

if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
    packages=$(missing $wanted)
    [ -z "$packages" ] || install $packages
    [ "$option" != --check ] || install_aarch64
else
    elsewhere "$option"
fi
if [ "$option" = --python ]; then
    echo "setup: .venv with scripts/requirements.txt"
    [ -d .venv ] || python3 -m venv .venv
    .venv/bin/pip install --quiet --requirement scripts/requirements.txt
fi
