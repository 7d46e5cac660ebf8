/* Background work: loops decide, jobs do. */
#pragma once
#include "error.h"
#include "seal.h"
#include <stdbool.h>

struct conf;
struct job_workers;

/*
 * Starts conf->job_threads threads, each with its own connection, HTTP client
 * and fleet identity.  NULL when a thread cannot be started.
 */
struct job_workers *job_start(const struct conf *conf, const struct seal *seal,
    const char *conninfo, struct error *err);

/* Lets every thread finish the step in hand, then joins them all. */
void job_stop(struct job_workers *workers);
