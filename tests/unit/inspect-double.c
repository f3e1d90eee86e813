/* inspect-double.c: stands in for `lms-engine --inspect`.  A "model" in these tests is a text file that holds its own answer, on one line,
 * or says how the engine misbehaves on it. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static void
flood (size_t bytes)
{
    static char block[65536];
    memset (block, 'x', sizeof block);
    for (size_t n = 0; n < bytes; n += sizeof block)
        fwrite (block, 1, sizeof block, stdout);
}

/* What the file wants to happen; 0: print it. */
static int
misbehave (const char *text)
{
    if (strncmp (text, "!die", 4) == 0)
        kill (getpid (), SIGKILL);
    if (strncmp (text, "!exit", 5) == 0)
        exit (3);
    if (strncmp (text, "!missing", 8) == 0)
        exit (127);
    if (strncmp (text, "!hang", 5) == 0)
        pause ();
    if (strncmp (text, "!drip", 5) == 0) /* never silent, never done */
        for (;;) {
            putchar (' ');
            fflush (stdout);
            usleep (20000);
        }
    if (strncmp (text, "!flood", 6) == 0)
        return flood (8 << 20), 1;
    if (strncmp (text, "!long", 5) == 0) { /* valid, and far too much to keep */
        fputs ("{\"ok\":true,\"arch\":\"", stdout);
        flood (1 << 20);
        puts ("\"}");
        return 1;
    }
    if (strncmp (text, "!limits", 7) == 0) { /* what it may use, and how many descriptors it has */
        struct rlimit memory, core;
        int death = 0, descriptors = 0;
        getrlimit (RLIMIT_AS, &memory);
        getrlimit (RLIMIT_CORE, &core);
        prctl (PR_GET_PDEATHSIG, &death);
        for (int fd = 3; fd < 256; fd++)
            descriptors += fcntl (fd, F_GETFD) >= 0;
        printf ("{\"ok\":true,\"memory\":%lld,\"core\":%lld,\"death\":%d,\"descriptors\":%d}\n",
                (long long) memory.rlim_cur, (long long) core.rlim_cur, death, descriptors);
        return 1;
    }
    if (strncmp (text, "!garbage", 8) == 0)
        return puts ("Segmentation fault, or so"), 1;
    if (strncmp (text, "!binary", 7) == 0)
        return fwrite ("\0\xff{}\n", 1, 6, stdout), 1;
    if (strncmp (text, "!scalar", 7) == 0)
        return puts ("[1, 2]"), 1;
    return 0;
}

int
main (int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        static char text[65536];
        FILE *file = fopen (argv[i], "r");
        size_t n = file ? fread (text, 1, sizeof text - 1, file) : 0;
        if (file)
            fclose (file);
        text[n] = '\0';
        if (misbehave (text))
            continue;
        /* Padding behind the line makes a file as big as a test wants it. */
        text[strcspn (text, "\n")] = '\0';
        if (*text)
            puts (text);
        else
            puts ("{\"ok\":false,\"reason\":\"bad magic\"}");
        if (strstr (text, "\"unflushed\""))
            continue; /* as an engine that forgets to flush would: a later death takes this line along */
        fflush (stdout);
    }
    return 0;
}
