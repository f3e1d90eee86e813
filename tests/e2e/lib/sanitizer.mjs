// The address, leak and undefined-behaviour checkers: how they are set, and how their reports are found.
//
// lms-engine is sandboxed, so its leaks cannot be looked for at its end: tests/sanitizer-defaults.c switches that off there.

export const sanitizerEnv = {
    ASAN_OPTIONS: 'halt_on_error=1:abort_on_error=0:exitcode=99:strict_string_checks=1:detect_stack_use_after_return=0',
    UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1:exitcode=99',
    G_SLICE: 'always-malloc',
};

const report = /(ERROR: \w*Sanitizer|SUMMARY: \w*Sanitizer|: runtime error: |==\d+==\w*Sanitizer)/;

/** Throws when @text, the standard error of @who, holds a report. */
export function checkForReports(who, text) {
    const at = text.search(report);
    if (at < 0) return;
    throw new Error(`a checker reports in ${who}:\n${text.slice(Math.max(0, at - 200), at + 6000)}`);
}
