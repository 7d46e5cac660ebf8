/* Starts and stops the job threads and their watch. */
#include "job.h"

#include "worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct job_workers {
    char           host[64];
    struct watch   watch;
    int            n;
    struct worker  worker[];
};

static bool
job_start_one(struct job_workers *all, int i, struct error *err)
{
    struct worker  *w = &all->worker[i];

    snprintf(w->name, sizeof(w->name), "%.50s%d", w->host, i);

    w->http = http_client_new(&w->conf->outgoing, err);

    if (w->http == NULL) {
        return false;
    }

    w->started = pthread_create(&w->thread, NULL, worker_run, w) == 0;

    if (!w->started) {
        http_client_free(w->http);
        return error_set(err, ERR_UNAVAILABLE, "no thread can be started");
    }

    return true;
}

struct job_workers *
job_start(const struct conf *conf, const struct seal *seal,
    const char *conninfo, const struct job_process *process, struct error *err)
{
    int                  n = conf->job_threads;
    struct job_workers  *all = calloc(1, sizeof(*all) + n * sizeof(*all->worker));
    char                 host[40] = "";

    if (all == NULL) {
        error_set(err, ERR_INTERNAL, "out of memory");
        return NULL;
    }

    if (!watch_init(&all->watch, err)) {
        free(all);
        return NULL;
    }

    all->n = n;
    gethostname(host, sizeof(host) - 1);
    snprintf(all->host, sizeof(all->host), "%s/%ld/", host, (long) getpid());
    snprintf(all->watch.name, sizeof(all->watch.name), "%.50swatch", all->host);
    all->watch.conf = conf;
    all->watch.conninfo = conninfo;
    all->watch.host = all->host;

    for (int i = 0; i < n; i++) {
        all->worker[i] = (struct worker) {
            .conf = conf, .seal = seal, .conninfo = conninfo, .process = process,
            .watch = &all->watch, .host = all->host,
        };
        if (!job_start_one(all, i, err)) {
            job_stop(all);
            return NULL;
        }
    }

    if (!watch_start(&all->watch, err)) {
        job_stop(all);
        return NULL;
    }

    return all;
}

void
job_stop(struct job_workers *all)
{
    if (all == NULL) {
        return;
    }

    watch_stop(&all->watch);

    for (int i = 0; i < all->n; i++) {
        if (all->worker[i].started) {
            pthread_join(all->worker[i].thread, NULL);
        }
    }

    watch_free(&all->watch);
    free(all);
}
