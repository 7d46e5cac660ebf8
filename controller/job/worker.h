/* One job thread. */
#pragma once
#include "conf.h"
#include "fleet.h"
#include "http.h"
#include "job.h"
#include "seal.h"
#include "watch.h"
#include <pthread.h>

struct worker {
    pthread_t             thread;
    bool                  started;
    char                  name[64];        /* process and thread */
    const char           *host;            /* host and process: its threads' names
                                              begin with it */
    const struct conf    *conf;
    const struct seal    *seal;
    const char           *conninfo;
    const struct job_process  *process;
    struct watch         *watch;

    /* the thread's own */
    struct db            *db;
    struct http_client   *http;
    struct fleet          fleet;
};

/* How many threads of this process issuers may occupy, as text: one is left to
 * jobs that need no issuer. */
void worker_slots(const struct conf *conf, char *out, size_t size);

void *worker_run(void *arg);
