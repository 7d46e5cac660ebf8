/* One job thread. */
#pragma once
#include "conf.h"
#include "fleet.h"
#include "http.h"
#include "job.h"
#include "seal.h"
#include <pthread.h>
#include <stdatomic.h>

struct worker {
    pthread_t             thread;
    bool                  started;
    char                  name[64];        /* host and thread, for people */
    const struct conf    *conf;
    const struct seal    *seal;
    const char           *conninfo;
    const struct job_process  *process;
    const atomic_bool    *stop;
    int                   wake_fd;         /* readable when stop is set */

    /* the thread's own */
    struct db            *db;
    struct http_client   *http;
    struct fleet          fleet;
};

void *worker_run(void *arg);
