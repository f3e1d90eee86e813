/* sanitizer-defaults.c: linked into lms-engine in checked builds only.
 *
 * Leaks are looked for by a helper thread that stops the others by ptrace, which the engine's sandbox forbids.  Everything else stays on. */
const char *__asan_default_options (void);
const char *
__asan_default_options (void)
{
    return "detect_leaks=0";
}
