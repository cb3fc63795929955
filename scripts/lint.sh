#!/usr/bin/env bash
# lint: the rules of the house that a script can check. Prints every offence under its rule.
set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C.UTF-8
CC=${CC:-gcc}
library=(base kernels model tokenizer)
broken=$(mktemp) # the rules that are broken; a file, because report runs in subshells
trap 'rm -f "$broken"' EXIT

# Reads offences on standard input and prints them under the rule $1.
report() {
    local found
    found=$(cat)
    [ -z "$found" ] && return
    printf '%s:\n%s\n' "$1" "$found"
    echo "$1" >>"$broken"
}

# All text files that belong to the project.
files() {
    if git rev-parse --git-dir >/dev/null 2>&1; then
        git ls-files --cached --others --exclude-standard
    else
        find . -type f -not -path './build/*' -not -path './.venv/*' | sed 's,^\./,,'
    fi | grep -vE '^(models|tests/data)/|\.seeds/|\.gif$'
}
mapfile -t all < <(files)
mapfile -t sources < <(printf '%s\n' "${all[@]}" | grep -E '\.[ch]$')

search() { grep -nE "$@" /dev/null; }
in_library() { grep -rnE --include='*.[ch]' "$@" "${library[@]}"; }

in_library '\b(exit|_exit|abort|assert|printf|fprintf|vfprintf|puts|putchar|perror)\(' |
    report 'the library neither ends the process nor prints'
in_library '#include "(commands|tests|longhand)' | report 'the library does not know the commands'
grep -rnE '#include "tokenizer/' model | report 'model/ does not include tokenizer/'
grep -rnE '#include "model/' tokenizer | report 'tokenizer/ does not include model/'
grep -rnE '#include "(model|tokenizer)/' base kernels | report 'dependencies point down'
grep -rnE '#include "kernels/' base | report 'dependencies point down'
search 'pragma omp' "${sources[@]}" | grep -v '^kernels/parallel\.c:' |
    report 'threads are started in kernels/parallel.c only'
search 'immintrin\.h|arm_neon\.h' "${sources[@]}" |
    grep -vE '^kernels/[a-z_]*(avx|amx|neon)[a-z0-9_]*\.[ch]:' |
    report 'intrinsics belong to the files of their instruction set'
search '\b(atoi|atol|atof|strcpy|strcat|sprintf|vsprintf|gets)\(' "${sources[@]}" |
    report 'unchecked functions'
search '\binline\b' "${sources[@]}" |
    grep -vE 'static inline|^[^:]*:[0-9]*: \*|/\*' |
    report 'inline is always static inline'
printf '%s\n' "${sources[@]}" | grep '\.c$' | xargs grep -nE '^extern ' |
    report 'declarations live in headers'
search '(^|[^[:alnum:].])/(home|root|work|Users)/' "${all[@]}" | report 'paths of some machine'
printf '%s\n' "${all[@]}" | grep -E '\.([ch]|sh)$|Makefile' | xargs grep -nE '^.{101,}' |
    report 'lines over 100 columns (see: make format)'
printf '%s\n' "${all[@]}" | grep '\.py$' | xargs grep -nE '^.{121,}' |
    report 'lines over 120 columns'
search $'[ \t]$' "${all[@]}" | report 'space at the end of a line'
search $'\t' "${sources[@]}" | report 'tabs'

for file in "${sources[@]}"; do
    [ "$(head -c 2 "$file")" = '/*' ] || echo "$file"
done | report 'a file opens with a comment that says what it owns'

printf '%s\n' "${sources[@]}" | grep -v '^tests/' | while read -r file; do
    stem=$(basename "${file%.[ch]}")
    grep -qE "[\`/]$stem(\.[ch])?\`" docs/architecture.md || echo "$file"
done | report 'docs/architecture.md names every file'

# Sizes in lines: a .c file 400 (600 for an instruction set, 800 for a test), a header 200, a
# function 60 (80 in tests, 100 in forward.c).
awk 'FNR == 1 { limit = FILENAME ~ /^tests/ ? 80 : FILENAME ~ /forward\.c$/ ? 100 : 60 }
    /^\{/ { start = FNR }
    /^\}/ { lines = FNR - start
            if (start && lines > limit) print FILENAME ":" start ": " lines " lines"
            start = 0 }
    ' "${sources[@]}" | report 'long functions'
wc -l "${sources[@]}" | awk '$2 != "total" {
    limit = $2 ~ /\.h$/ ? 200 : $2 ~ /^tests/ ? 800 : $2 ~ /^kernels\/.*(avx|amx|neon)/ ? 600 : 400
    if ($1 > limit) print $2 ": " $1 " lines, at most " limit }' | report 'long files'

# Headers compile alone; those of a foreign instruction set are left to their own machine.
for header in $(printf '%s\n' "${sources[@]}" | grep '\.h$'); do
    case "$header" in
    kernels/*avx*) flags='-march=icelake-server' ;;
    kernels/*amx*) flags='-march=sapphirerapids' ;;
    *) flags='' ;;
    esac
    case "$header $($CC -dumpmachine)" in
    kernels/*avx*aarch64* | kernels/*neon*x86_64* | tests/suites.h*) continue ;;
    esac
    # shellcheck disable=SC2086 # flags are meant to be split
    echo "#include \"$header\"" |
        $CC -std=c11 -D_GNU_SOURCE -Wall -Wextra -I. $flags -x c -fsyntax-only - 2>&1
done | report 'a header compiles alone'

if command -v shellcheck >/dev/null; then
    shellcheck scripts/*.sh .ci/run | report 'shellcheck'
fi

if [ -s "$broken" ]; then
    echo "lint: $(wc -l <"$broken") rules broken"
    exit 1
fi
echo 'lint: no offences'
