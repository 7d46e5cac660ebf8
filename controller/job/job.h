/* Background work: loops decide, jobs do. */
#pragma once
#include "core.h"
#include "error.h"
#include "seal.h"
#include <stdbool.h>

struct conf;
struct job_workers;

/* What the loops renew of this process: see the rows of loop.c. */
struct job_process {
    bool  (*certificate)(void *data, const struct core *c, struct error *err);
    bool  (*seal)(void *data, const struct core *c, struct error *err);
    void   *data;
};

/*
 * Starts conf->job_threads threads, each with its own connection, HTTP client
 * and fleet identity.  process stays the caller's.  NULL when a
 * thread cannot be started.
 */
struct job_workers *job_start(const struct conf *conf, const struct seal *seal,
    const char *conninfo, const struct job_process *process, struct error *err);

/* Lets every thread finish the step in hand, then joins them all. */
void job_stop(struct job_workers *workers);
