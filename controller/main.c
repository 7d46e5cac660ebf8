/* The roof: starts everything in order, waits, stops everything in reverse. */
#include "startup.h"

#include "fleet.h"
#include "issuers.h"
#include "job.h"
#include "log.h"
#include "rest.h"
#include "seal_keys.h"
#include "routes.h"
#include "wire.h"
#include "wiping.h"

#include <errno.h>
#include <event2/event.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAIN_TICK_S  1

struct daemon {
    struct conf           conf;
    struct startup        start;
    struct rest_context   rest_ctx;
    struct rest_server   *rest;
    struct job_workers   *jobs;
    struct job_process    process;
    time_t                certificate_until;   /* of the API: when to make the next */
    char                  fault[400];          /* of PostgreSQL, as it was logged last */
    char                 *ca_pem;              /* what ca.crt holds */
    char                  name[64];            /* host and process */
};

/* The API's certificate lives in memory only: a new one at each start, and when a
 * loop finds it due. */
static bool
daemon_serve(struct daemon *d, const struct core *c, struct error *err)
{
    CLEANUP(mem) char    *cert = NULL;
    CLEANUP(secret) char *key = NULL;

    d->ca_pem = fleet_ca_pem(c, err);

    if (d->ca_pem == NULL
        || !fleet_server(c, d->conf.api_names, &cert, &key, &d->certificate_until, err))
    {
        return false;
    }

    d->rest = rest_start(&d->rest_ctx, d->start.conninfo, cert, key, err);

    return d->rest != NULL;
}

/* ca.crt holds what is trusted now; of another CA may be the API's certificate. */
static bool
daemon_trust(struct daemon *d, const struct core *c, struct error *err)
{
    CLEANUP(mem) char  *ca_pem = fleet_ca_pem(c, err);

    if (ca_pem == NULL) {
        return false;
    }

    if (strcmp(ca_pem, d->ca_pem) == 0) {
        return true;
    }

    if (!startup_write(&d->conf, "ca.crt", ca_pem, err)) {
        return false;
    }

    free(d->ca_pem);
    d->ca_pem = TAKE(ca_pem);
    d->certificate_until = 0;

    return true;
}

/* Called by a job thread, one at a time. */
static bool
daemon_certificate(void *data, const struct core *c, struct error *err)
{
    struct daemon        *d = data;
    CLEANUP(mem) char    *cert = NULL;
    CLEANUP(secret) char *key = NULL;

    if (!daemon_trust(d, c, err)) {
        return false;
    }

    if (time(NULL) < d->certificate_until) {
        return true;
    }

    if (!fleet_server(c, d->conf.api_names, &cert, &key, &d->certificate_until, err)) {
        return false;
    }

    return rest_use_certificate(d->rest, cert, key, err);
}

/* The same of sealing keys. */
static bool
daemon_seal(void *data, const struct core *c, struct error *err)
{
    struct daemon  *d = data;

    return seal_keys_follow(c, d->start.seal, d->start.seal_path, d->name, err);
}

static bool
daemon_start(struct daemon *d, struct error *err)
{
    struct core      c;
    struct error     fault = { 0 };
    struct timespec  from, now;
    char             address[300], host[256] = "";

    clock_gettime(CLOCK_MONOTONIC, &from);

    if (!startup_run(&d->start, &d->conf, err)) {
        return false;
    }

    d->rest_ctx = (struct rest_context) {
        .conf = &d->conf, .seal = d->start.seal, .routes = routes,
    };

    c = startup_core(&d->start);
    gethostname(host, sizeof(host) - 1);
    snprintf(d->name, sizeof(d->name), "%.50s/%ld", host, (long) getpid());

    /* a CA in files may have expired: everything else is worth more */
    if (!issuers_refresh(&c, &fault)) {
        log_event(LOG_ERROR, "", "%s", fault.detail);
    }

    if (!daemon_serve(d, &c, err)) {
        return false;
    }

    d->process = (struct job_process) { .certificate = daemon_certificate,
                                        .seal = daemon_seal, .data = d };
    d->jobs = job_start(&d->conf, d->start.seal, d->start.conninfo, &d->process, err);
    if (d->jobs == NULL) {
        return false;
    }

    snprintf(host, sizeof(host), "%.*s",
             (int) (strrchr(d->conf.listen, ':') - d->conf.listen), d->conf.listen);
    snprintf(address, sizeof(address), "%s:%d\n", host, rest_port(d->rest));
    if (!startup_write(&d->conf, "address", address, err)) {
        return false;
    }

    clock_gettime(CLOCK_MONOTONIC, &now);

    log_event(LOG_NOTICE, "", "certctld %s is ready after %lld ms: https://%.*s, trust "
              "%s/ca.crt", CERTCTL_VERSION,
              (now.tv_sec - from.tv_sec) * 1000LL + (now.tv_nsec - from.tv_nsec) / 1000000,
              (int) strcspn(address, "\n"), address, d->conf.data_dir);

    return true;
}

/* Once a second, and when a child has ended: whether our PostgreSQL still runs. */
static void
daemon_tick(struct daemon *d)
{
    struct error  err = { 0 };

    if (d->start.cluster == NULL || db_cluster_check(d->start.cluster, &err)) {
        d->fault[0] = '\0';

    } else if (strcmp(d->fault, err.detail) != 0) {
        snprintf(d->fault, sizeof(d->fault), "%s", err.detail);
        log_event(LOG_ERROR, "", "%s", err.detail);
    }
}

static void
daemon_stop(struct daemon *d)
{
    job_stop(d->jobs);        /* they use the server: see daemon_certificate() */
    rest_stop(d->rest);
    startup_end(&d->start);
    free(d->ca_pem);
    conf_free(&d->conf);
}

/* Blocked in every thread and taken here, one at a time: no handlers. */
static void
daemon_signals(sigset_t *set)
{
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, set, NULL);
}

static void
daemon_wait(struct daemon *d, const sigset_t *set)
{
    struct timespec  tick = { .tv_sec = MAIN_TICK_S };
    int              signo;

    for ( ;; ) {
        signo = sigtimedwait(set, NULL, &tick);

        if (signo == SIGTERM || signo == SIGINT) {
            log_event(LOG_NOTICE, "", "stopping: waiting for running jobs to finish");
            return;
        }

        daemon_tick(d);
    }
}

static void *
crypto_malloc(size_t size, const char *, int)
{
    return wiping_malloc(size);
}

static void *
crypto_realloc(void *p, size_t size, const char *, int)
{
    return wiping_realloc(p, size);
}

static void
crypto_free(void *p, const char *, int)
{
    wiping_free(p);
}

/* Before any of these libraries has allocated something. */
static void
daemon_memory(void)
{
    CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free);
    event_set_mem_functions(wiping_malloc, wiping_realloc, wiping_free);
    json_set_alloc_funcs(wiping_malloc, wiping_free);
}

static bool
wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            conf_usage(stdout);
            return true;
        }
        if (strcmp(argv[i], "--version") == 0) {
            puts("certctld " CERTCTL_VERSION);
            return true;
        }
    }

    return false;
}

int
main(int argc, char **argv)
{
    struct daemon  d = { .start.lock = -1 };
    struct error   err = { 0 };
    sigset_t       set;
    bool           test;

    daemon_memory();

    if (wants_help(argc, argv)) {
        return 0;
    }

    if (!conf_load(&d.conf, argc, argv, &test, &err)) {
        fprintf(stderr, "certctld: %s\n", err.detail);
        conf_free(&d.conf);             /* it holds what was read so far */
        return 2;
    }

    if (test) {
        conf_print(&d.conf, stdout);
        conf_free(&d.conf);
        return 0;
    }

    log_set_level(d.conf.log_level);
    daemon_signals(&set);

    if (!daemon_start(&d, &err)) {
        log_event(LOG_ERROR, "", "start: %s", err.detail);
        daemon_stop(&d);
        return 1;
    }

    daemon_wait(&d, &set);
    daemon_stop(&d);

    return 0;
}
