#!/usr/bin/env bash
# Runs the tests of a build that is already there; the last line is the total over all of them: "N passed, N failed".
#
# usage: BUILD=build/release PYTHON=/usr/bin/python3 JOBS=2 tests/run.sh [unit] [e2e] [threads]      (default: unit e2e)
#
#   unit     every tests/unit/*/test_*.c as $BUILD/tests/..., in parallel; only failing ones print
#   e2e      tests/e2e by pytest, in parallel where pytest-xdist is there
#   threads  of both those with several threads, for ThreadSanitizer: unit tests that call pthread_create() or say
#            "runs under ThreadSanitizer" in a comment, end-to-end tests marked pytest.mark.threads
#
# PYTEST_ARGS is handed on (PYTEST_ARGS="-k upgrade"). A test program has UNIT_SECONDS (120), pytest E2E_SECONDS (1200).
set -u
cd "$(dirname "$0")/.." || exit 1

export BUILD=${BUILD:-build/release}
PYTHON=${PYTHON:-/usr/bin/python3}
JOBS=${JOBS:-$(nproc)}
export UNIT_SECONDS=${UNIT_SECONDS:-120}
E2E_SECONDS=${E2E_SECONDS:-1200}

# A sanitizer's finding ends the process with a code of its own, so that neither cmocka nor pytest can overlook it.
export ASAN_OPTIONS="detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:exitcode=77:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:exitcode=77:${UBSAN_OPTIONS:-}"
export TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1:exitcode=77:${TSAN_OPTIONS:-}"
export CMOCKA_MESSAGE_OUTPUT=stdout

work=$(mktemp -d /tmp/loomgate-tests.XXXXXX) || exit 1
export WORK=$work
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
passed=0 failed=0 skipped=0
fixed=() # what keeps addresses where ThreadSanitizer of gcc 12 expects them, on kernels that scatter them widely

# Runs one unit test program; what it says goes to $WORK/unit/<area>.<name>.{out,code,time}.
run_unit() {
    local program=$BUILD/tests/${1#tests/unit/} name=${1#tests/unit/} start=${EPOCHREALTIME/./}
    program=${program%.c} name=${name%.c} name=${name/\//.}
    if [ -x "$program" ]; then
        timeout -k 5 "$UNIT_SECONDS" "$program" >"$WORK/unit/$name.out" 2>&1 </dev/null
        local code=$?
        [ $code -ne 124 ] || echo "no end after $UNIT_SECONDS s" >>"$WORK/unit/$name.out"
        echo $code >"$WORK/unit/$name.code"
    else
        echo "$program is not built" >"$WORK/unit/$name.out"
        echo 1 >"$WORK/unit/$name.code"
    fi
    echo $(((${EPOCHREALTIME/./} - start) / 1000)) >"$WORK/unit/$name.time"
}
export -f run_unit

# The sum of the numbers in cmocka's lines "[  WORD  ] N test(s)".
sum_of() {
    awk -v word="$2" '$1 == "[" && $2 == word && $4 ~ /^[0-9]+$/ { n += $4 } END { print n + 0 }' "$1"
}

# Adds up what the programs said. A program that fails without naming a test (a crash, a leak, no end) is one failure.
count_units() {
    local out name ok bad code count=0
    for out in "$work"/unit/*.out; do
        [ -e "$out" ] || continue
        name=${out%.out} code=$(<"${out%.out}.code") count=$((count + 1))
        ok=$(sum_of "$out" PASSED) bad=$(sum_of "$out" FAILED)
        if [ $((ok + bad)) -eq 0 ] || { [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; }; then bad=1; fi
        passed=$((passed + ok)) failed=$((failed + bad))
        if [ "$bad" -gt 0 ]; then
            echo "--- ${name##*/} failed (exit code $code)"
            [ $((ok + bad)) -gt 1 ] || [ -s "$out" ] || echo "it ran no test"
            grep -v '^\[ RUN \|^\[ *OK \]' "$out" | tail -n 100
        elif [ "$(<"$name.time")" -gt 5000 ]; then
            echo "slow: ${name##*/} took $(<"$name.time") ms"
        fi
    done
    echo "unit tests: $count programs"
}

run_units() {
    rm -rf "$work/unit" && mkdir "$work/unit"
    printf '%s\n' "$@" | xargs -r -P "$JOBS" -I{} "${fixed[@]}" bash -c 'run_unit "$1"' - {}
    count_units
}

# Adds up pytest's own report (JUnit XML), which has every test, also when a worker died.
count_pytest() {
    "$PYTHON" -B - "$1" <<'END'
import sys, xml.etree.ElementTree as tree
try:
    suites = list(tree.parse(sys.argv[1]).getroot().iter("testsuite"))
except (OSError, tree.ParseError):
    suites = []
total = {name: sum(int(s.get(name, 0)) for s in suites) for name in ("tests", "failures", "errors", "skipped")}
bad = total["failures"] + total["errors"]
print(max(0, total["tests"] - bad - total["skipped"]), bad, total["skipped"])
END
}

run_e2e() {
    local parallel=() ok bad left code build
    build=$(realpath "$BUILD")
    "$PYTHON" -c 'import xdist' 2>/dev/null && [ "$JOBS" -gt 1 ] && parallel=(-n "$JOBS")
    # Short paths: UNIX sockets are made below them.
    # shellcheck disable=SC2086
    LOOMGATE_BIN=$build/loomgate ORIGIN_BIN=$build/origin timeout -k 10 "$E2E_SECONDS" "${fixed[@]}" \
        "$PYTHON" -B -m pytest -q -p no:cacheprovider "${parallel[@]}" --basetemp="$work/e" --junitxml="$work/e2e.xml" \
        -o "markers=threads: also runs under ThreadSanitizer" "$@" ${PYTEST_ARGS:-} tests/e2e </dev/null
    code=$?
    read -r ok bad left < <(count_pytest "$work/e2e.xml")
    [ $code -ne 124 ] || echo "end-to-end tests: no end after $E2E_SECONDS s"
    # 5: no test was asked for
    [ $code -eq 0 ] || [ $code -eq 5 ] || [ "$bad" -gt 0 ] || bad=1
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + left))
    rm -rf "$work/e" "$work/e2e.xml"
}

run_threads() {
    local units
    ! setarch "$(uname -m)" -R true 2>/dev/null || fixed=(setarch "$(uname -m)" -R)
    mapfile -t units < <(grep -lzE 'pthread_create|runs under[[:space:]*]+ThreadSanitizer' tests/unit/*/test_*.c)
    run_units "${units[@]}"
    ! grep -qrs 'mark\.threads' tests/e2e --include='*.py' || run_e2e -m threads
    fixed=()
}

suites=("$@")
[ $# -gt 0 ] || suites=(unit e2e)
for suite in "${suites[@]}"; do
    case $suite in
    unit) run_units tests/unit/*/test_*.c ;;
    e2e) run_e2e ;;
    threads) run_threads ;;
    *)
        echo "tests/run.sh: there is no suite '$suite' (unit, e2e, threads)" >&2
        exit 2
        ;;
    esac
done
[ "$skipped" -eq 0 ] || echo "$skipped skipped"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
