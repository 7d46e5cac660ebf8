/* Starts and stops the job threads. */
#include "job.h"

#include "worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct job_workers {
    atomic_bool    stop;
    int            wake_fd;
    int            n;
    struct worker  worker[];
};

static bool
job_start_one(struct job_workers *all, int i, struct error *err)
{
    struct worker  *w = &all->worker[i];
    char            host[40] = "";

    gethostname(host, sizeof(host) - 1);
    snprintf(w->host, sizeof(w->host), "%s/%ld/", host, (long) getpid());
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

    if (all == NULL || (all->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0) {
        free(all);
        error_set(err, ERR_INTERNAL, "out of memory or descriptors");
        return NULL;
    }

    all->n = n;

    for (int i = 0; i < n; i++) {
        all->worker[i] = (struct worker) {
            .conf = conf, .seal = seal, .conninfo = conninfo, .process = process,
            .stop = &all->stop, .wake_fd = all->wake_fd,
        };
        if (!job_start_one(all, i, err)) {
            job_stop(all);
            return NULL;
        }
    }

    return all;
}

void
job_stop(struct job_workers *all)
{
    uint64_t  one = 1;

    if (all == NULL) {
        return;
    }

    atomic_store(&all->stop, true);
    (void) !write(all->wake_fd, &one, sizeof(one));

    for (int i = 0; i < all->n; i++) {
        if (all->worker[i].started) {
            pthread_join(all->worker[i].thread, NULL);
        }
    }

    close(all->wake_fd);
    free(all);
}
