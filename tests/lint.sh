#!/usr/bin/env bash
# clang-tidy (.clang-tidy) and cppcheck over all sources of the proxy; every finding fails.
#
# usage: JOBS=2 tests/lint.sh [FILE.c...]                    (default: src/*.c, src/*/*.c)
set -u
cd "$(dirname "$0")/.." || exit 1

JOBS=${JOBS:-$(nproc)}
export work
work=$(mktemp -d /tmp/loomgate-lint.XXXXXX) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# The Makefile's own flags, so that what is checked is what is built.
flags=$(make -s --no-print-directory FLAVOUR=release -f - print-flags <<'END'
include Makefile
print-flags:
	@: $(info $(CPPFLAGS) -std=c17 -pthread)
END
) || exit 1
eval "flags=($flags)" # as the shell would split and unquote them in a rule

files=("$@")
[ $# -gt 0 ] || mapfile -t files < <(ls src/*.c src/*/*.c 2>/dev/null)
failed=0

# Each file by itself, what is said of it in one piece; the largest first, so that the last one ends early.
tidy_one() {
    local file=$1 out=$work/${1//\//_}
    shift
    clang-tidy --quiet "$file" -- "$@" >"$out" 2>/dev/null && [ ! -s "$out" ] && return 0
    cat "$out"
    return 1
}
export -f tidy_one
start=$SECONDS
ls -S "${files[@]}" | xargs -P "$JOBS" -I{} bash -c 'tidy_one "$@"' - {} "${flags[@]}" || failed=1
echo "lint: clang-tidy looked at ${#files[@]} files in $((SECONDS - start)) s"

start=$SECONDS
defines=()
for flag in "${flags[@]}"; do case $flag in -D* | -I*) defines+=("$flag") ;; esac done
# Not asked for: what it says of pointers that a callback may have cleared, of headers it does not open, and of loops
# over constant tables, whose entries it does not follow.
cppcheck -q -j "$JOBS" --enable=warning,portability --inline-suppr --error-exitcode=1 --std=c11 \
    --suppress=missingIncludeSystem --suppress=nullPointerRedundantCheck --suppress=preprocessorErrorDirective \
    --suppress=zerodivcond --suppress=varFuncNullUB \
    --template='{file}:{line}: {severity}: {message} [{id}]' "${defines[@]}" "${files[@]}" || failed=1
echo "lint: cppcheck looked at ${#files[@]} files in $((SECONDS - start)) s"
exit $failed
