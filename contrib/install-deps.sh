#!/bin/sh
# Installs what building, testing, measuring and checking LoomGate needs, by Debian package names; does nothing when all
# is there.
#
# usage: contrib/install-deps.sh [build|test|bench|guard|lint|fuzz|all]...  (build when nothing is named)
#
# "a|b" in a group means: either will do; the first one that the distribution has is taken. A "?" behind it: or none.
# Without apt it only looks: it prints what is needed and fails when something is missing.
set -eu

build='gcc|clang libc6-dev make pkg-config|pkgconf libev-dev libyaml-dev libcjson-dev libpcre2-dev libllhttp-dev|node-llhttp'
tests='libcmocka-dev python3 python3-pytest python3-pytest-xdist curl socat openssl'
guard='valgrind strace binutils python3'
bench='haproxy nginx-light|nginx wrk apache2-utils nghttp2-client linux-perf|linux-tools-generic?'
lint='clang clang-format clang-tidy cppcheck'
fuzz='clang libclang-rt-dev|libclang-rt-14-dev|libclang-common-14-dev'

usage() {
    sed -n '5,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

wanted=
[ $# -gt 0 ] || set -- build
for group in "$@"; do
    case $group in
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $build $tests" ;;
    bench) wanted="$wanted $build $guard $bench" ;;
    guard) wanted="$wanted $build $guard" ;;
    lint) wanted="$wanted $build $lint" ;;
    fuzz) wanted="$wanted $build $fuzz" ;;
    all) wanted="$wanted $build $tests $guard $bench $lint $fuzz" ;;
    *) usage ;;
    esac
done

# ---- systems without apt: look for the things themselves -------------------------------------------------------------

has_header() {
    printf '#include <%s>\n' "$1" | ${CC:-cc} -E -x c - >/dev/null 2>&1
}

# need NAME PROBE...: counts and prints NAME unless the probe succeeds
need() {
    name=$1
    shift
    if "$@" >/dev/null 2>&1; then
        return
    fi
    missing=$((missing + 1))
    echo "missing: $name" >&2
}

has_pcre2() {
    printf '#define PCRE2_CODE_UNIT_WIDTH 8\n#include <pcre2.h>\n' | ${CC:-cc} -E -x c - >/dev/null 2>&1
}

has_llhttp() {
    has_header llhttp.h || pkg-config --exists libllhttp || [ -e /usr/share/llhttp/llhttp.c ]
}

look_without_apt() {
    missing=0
    need 'a C compiler (gcc 12 or clang 14, or newer)' command -v "${CC:-cc}"
    need 'GNU make' command -v make
    need 'pkg-config' command -v pkg-config
    need 'libev (with ev.h)' has_header ev.h
    need 'libyaml (with yaml.h)' has_header yaml.h
    need 'cJSON (with cjson/cJSON.h)' has_header cjson/cJSON.h
    need 'PCRE2 (with pcre2.h)' has_pcre2
    need 'llhttp (with llhttp.h, or its C sources)' has_llhttp
    for group in "$@"; do
        case $group in test | all)
            need 'cmocka (with cmocka.h)' has_header cmocka.h
            need 'pytest for /usr/bin/python3' /usr/bin/python3 -c 'import pytest'
            need 'pytest-xdist for /usr/bin/python3' /usr/bin/python3 -c 'import xdist'
            for tool in curl socat openssl; do need "$tool" command -v "$tool"; done
            ;;
        esac
        case $group in bench | all)
            for tool in haproxy nginx wrk ab h2load; do
                need "$tool" env PATH="$PATH:/usr/sbin:/sbin" sh -c "command -v $tool"
            done
            ;;
        esac
        case $group in bench | guard | all)
            for tool in valgrind strace readelf python3; do need "$tool" command -v "$tool"; done
            ;;
        esac
        case $group in lint | all)
            for tool in clang clang-format clang-tidy cppcheck; do need "$tool" command -v "$tool"; done
            ;;
        esac
        case $group in fuzz | all) need 'clang with its sanitizer runtime' command -v clang ;; esac
    done
    if [ "$missing" -gt 0 ]; then
        echo "$0: there is no apt here: please install the $missing thing(s) above by this system's own means" >&2
        exit 1
    fi
    exit 0
}

if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-query >/dev/null 2>&1; then
    look_without_apt "$@"
fi

# ---- Debian and its relatives ----------------------------------------------------------------------------------------

installed=" $(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' 2>/dev/null | sed -n 's/^.i *//p' | tr '\n' ' ') "

is_there() {
    case $installed in *" $1 "*) return 0 ;; esac
    return 1
}

has_candidate() {
    apt-cache policy "$1" 2>/dev/null | grep -q '^  Candidate: [^(]'
}

# Sets `missing` to those of $wanted of which no alternative is installed.
find_missing() {
    missing=
    for choice in $wanted; do
        found=
        for package in $(echo "${choice%\?}" | tr '|' ' '); do
            if is_there "$package"; then
                found=yes
                break
            fi
        done
        [ -n "$found" ] || case " $missing " in *" $choice "*) ;; *) missing="$missing $choice" ;; esac
    done
}

# Sets `chosen` to one package for each missing choice; fails when apt knows none of a choice that must be there.
choose() {
    chosen=
    for choice in $missing; do
        found=
        for package in $(echo "${choice%\?}" | tr '|' ' '); do
            if has_candidate "$package"; then
                found=$package
                break
            fi
        done
        if [ -n "$found" ]; then
            chosen="$chosen $found"
        elif [ "${choice%\?}" = "$choice" ]; then
            return 1
        fi
    done
}

find_missing
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
        echo "$0: not root and no sudo; please install:$missing" >&2
        exit 1
    }
    sudo=sudo
fi

apt() {
    # shellcheck disable=SC2086 # empty when we are root
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@"
}

# haproxy and nginx are only wanted as programs: while packages are unpacked no service may start, and those that this
# run installed stay off.
policy=/usr/sbin/policy-rc.d
policy_is_ours=
forbid_services() {
    if [ ! -e $policy ]; then
        policy_is_ours=yes
        printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
        $sudo chmod 755 $policy
    fi
}

restore_services() {
    [ -z "$policy_is_ours" ] || $sudo rm -f $policy
    policy_is_ours=
}

keep_services_off() {
    [ -d /run/systemd/system ] || return 0
    for service in haproxy nginx; do
        case " $chosen " in *" $service"*) $sudo systemctl disable --now "$service" >/dev/null 2>&1 || true ;; esac
    done
}

updated=
if ! choose; then
    apt update
    updated=yes
    choose || {
        echo "$0: this distribution lacks some of:$missing" >&2
        exit 1
    }
fi

[ -n "$chosen" ] || exit 0

trap restore_services EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
forbid_services
echo "installing:$chosen"
# shellcheck disable=SC2086 # a list of words
if ! apt install --no-install-recommends $chosen; then
    [ -z "$updated" ] || exit 1
    apt update
    apt install --no-install-recommends $chosen
fi
keep_services_off
