#!/bin/sh
# The compiler of tools/mutants.py: gcc, whose objects tell mutants_trace.c which blocks run, under
# a name of its own: slipstream-check has a function of the usual name, for plugins. Without
# link-time optimisation: an object is what its source makes of it.
trace=$TRACE/trace.o
wanted=
output=
for argument in "$@"; do
    shift
    [ "$wanted" ] && output=$argument
    wanted=
    case $argument in
    -o) wanted=yes ;;
    -flto* | -fno-fat-lto-objects) continue ;;
    esac
    set -- "$@" "$argument"
done
case " $* " in
*" -c "*/check/coverage.c*) exec gcc "$@" ;;
*" -c "*)
    gcc -fsanitize-coverage=trace-pc "$@" || exit
    exec objcopy --redefine-sym __sanitizer_cov_trace_pc=ss_block_runs "$output"
    ;;
*) exec gcc "$@" "$trace" ;;
esac
