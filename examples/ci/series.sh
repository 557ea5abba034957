#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A patch series, judged patch by patch: each on top of those before it.
#
#     KERNEL=6.12-rt SCENARIO=scenario.toml FAIL_IF='p99.web > +5%' sh series.sh 0001-a.py 0002-b.py …
#
# VERIFY has further words for softnet verify, as --thorough or --driver free:1:2; without them a minute of small configurations.
# verify must find nothing new in any step (status 0; 4: nothing found, but not everything searched), and no step may meet the condition
# against the kernel without the series. Writes series.md, series.xml (JUnit) and the folder series, and leaves with 1 if a step fails.
set -u
kernel=${KERNEL:-6.12}
scenario=${SCENARIO:-scenario.toml}
condition=${FAIL_IF:-dropped > +5%}
failed=0
patches=
arms=
[ $# -gt 0 ] || { echo "usage: sh series.sh PATCH..." >&2; exit 2; }
softnet check "$scenario" || exit 2
for patch in "$@"; do
    patches="$patches --patch=$patch"
    arms="$arms${arms:+,}patch=$patch"
    echo "== verify: $kernel with $(basename "$patch") and what comes before it"
    # The paths of a series have no spaces: the lists are to fall apart into words.
    softnet verify --kernel "$kernel" $patches ${VERIFY:-} --quiet
    status=$?
    case $status in
        0 | 4) ;;
        1) failed=1 ;;
        *) exit "$status" ;;
    esac
    set -- "$@" "--arm=$(basename "$patch" .py):$kernel,$arms"
    shift
done
echo "== compare"
softnet compare "$scenario" --arm="base:$kernel" "$@" --seeds "${SEEDS:-5}" --fail-if "$condition" \
    --junit series.xml --markdown series.md --out series --quiet
status=$?
[ "$status" -le 1 ] || exit "$status"
[ "$status" -eq 0 ] || failed=1
exit "$failed"
