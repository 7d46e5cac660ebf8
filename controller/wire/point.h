/*
 * Named crash points of test builds.  Without -DCERTCTL_POINTS they compile to
 * nothing; with it,
 *
 *     CERTCTL_POINT=store.put.before_rename   names the point; with ":3" behind
 *                                             it, the third time it is passed,
 *     CERTCTL_POINT_ACT=kill                  what happens there: kill (SIGKILL),
 *                                             exit (_exit(99)), stop (SIGSTOP),
 *     CERTCTL_POINT_LOG=/tmp/points           gets a line for each point passed,
 *                                             so that a test sees that none was
 *                                             missed.
 *
 * The environment is read at the first point.  NGINX clears the environment of
 * its workers: the master calls certctl_point_init() while it reads the
 * configuration, and its workers inherit what was read, the open log included.
 */
#pragma once

#ifdef CERTCTL_POINTS

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* weak: one for a whole program, although each file that includes this has it */
__attribute__((weak)) struct certctl_points {
    atomic_int  ready;
    atomic_int  left;           /* how often it is still to be passed */
    int         log;            /* descriptor, or -1 */
    char        name[128];
    char        act[16];
} certctl_points = { 0, 0, -1, "", "" };


/* Sets the point by hand; each text may be NULL. */
static inline void
certctl_point_set(const char *name, const char *act, const char *log)
{
    char  *times;

    snprintf(certctl_points.name, sizeof(certctl_points.name), "%s",
             name ? name : "");
    times = strchr(certctl_points.name, ':');
    atomic_store(&certctl_points.left,
                 times ? (int) strtol(times + 1, NULL, 10) : 1);

    if (times) {
        *times = '\0';
    }

    snprintf(certctl_points.act, sizeof(certctl_points.act), "%s",
             act ? act : "");

    if (certctl_points.log >= 0) {
        close(certctl_points.log);
    }

    certctl_points.log = log ? open(log, O_WRONLY|O_CREAT|O_APPEND|O_CLOEXEC,
                                    0666)
                             : -1;
    atomic_store(&certctl_points.ready, 1);
}


static inline void
certctl_point_init(void)
{
    certctl_point_set(getenv("CERTCTL_POINT"), getenv("CERTCTL_POINT_ACT"),
                      getenv("CERTCTL_POINT_LOG"));
}


static inline void
certctl_point(const char *name)
{
    char  line[130];
    int   len;

    if (!atomic_load(&certctl_points.ready)) {
        certctl_point_init();
    }

    if (certctl_points.log >= 0) {
        len = snprintf(line, sizeof(line), "%s\n", name);

        if (write(certctl_points.log, line, len) != len) {
            abort();            /* a lost line would look like a missed point */
        }
    }

    if (strcmp(certctl_points.name, name) != 0
        || atomic_fetch_sub(&certctl_points.left, 1) != 1)
    {
        return;
    }

    if (strcmp(certctl_points.act, "kill") == 0) {
        raise(SIGKILL);
    }

    if (strcmp(certctl_points.act, "exit") == 0) {
        _exit(99);
    }

    /*
     * To this thread: another one that takes the signal may have to wait for a
     * processor, and this one would go on for some milliseconds meanwhile.
     */
    if (strcmp(certctl_points.act, "stop") == 0) {
        raise(SIGSTOP);
    }
}

#define CERTCTL_POINT(name)   certctl_point(name)
#define CERTCTL_POINT_INIT()  certctl_point_init()

#else

#define CERTCTL_POINT(name)   do { } while (0)
#define CERTCTL_POINT_INIT()  do { } while (0)

#endif
