/*
 * Looks for due work, one thread for the process: workers sleep until there is some,
 * so that an idle process asks the database once a second and not each of its threads.
 */
#pragma once
#include "conf.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct watch {
    pthread_t             thread;
    bool                  started;
    char                  name[64];
    const struct conf    *conf;
    const char           *conninfo;
    const char           *host;         /* what the names of the workers begin with */
    int                   look_fd;      /* eventfd: look again, or stop */
    int                   work_fd;      /* eventfd, a semaphore: a worker is to wake up */
    atomic_int            tokens;       /* that are in it */
    atomic_uint           loops;        /* due, by number: no worker has them yet */
    atomic_bool           stop;
};

bool watch_init(struct watch *w, struct error *err);
bool watch_start(struct watch *w, struct error *err);

/* Sets stop and wakes everybody. */
void watch_stop(struct watch *w);

/* Joins the thread, if there is one. */
void watch_free(struct watch *w);

bool watch_stopping(struct watch *w);

/* Waits until there is work; false when so many milliseconds are over, unless that
 * is negative.  The loops that are due become the caller's; 0: jobs are due. */
bool watch_wait(struct watch *w, int ms, uint32_t *loops);

/* Something has changed: when is the next work due? */
void watch_look(struct watch *w);
