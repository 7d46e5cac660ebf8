/* Writes log lines with one write(2) each, so that threads never interleave. */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const  names[] = { "error", "warn", "notice", "info", "debug" };

/* Set once, before threads start. */
static enum log_level  threshold = LOG_INFO;

bool
log_set_level(const char *name)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0) {
            threshold = i;
            return true;
        }
    }

    return false;
}

void
log_event(enum log_level level, const char *context, const char *fmt, ...)
{
    struct timespec  now;
    struct tm        tm;
    va_list          ap;
    char             line[1024];
    size_t           n;
    int              len;

    if (level > threshold) {
        return;
    }

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);

    n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
    n += snprintf(line + n, sizeof(line) - n, ".%03ldZ [%s] %s%s",
                  now.tv_nsec / 1000000, names[level], context,
                  *context ? " " : "");

    if (n > sizeof(line) - 2) {
        n = sizeof(line) - 2;
    }

    va_start(ap, fmt);
    len = vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
    va_end(ap);

    n = len < 0 ? n : n + len > sizeof(line) - 2 ? sizeof(line) - 2 : n + len;

    /* A peer's text must not forge a line of its own. */
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char) line[i] < ' ') {
            line[i] = ' ';
        }
    }

    line[n++] = '\n';
    (void) !write(STDERR_FILENO, line, n);
}
