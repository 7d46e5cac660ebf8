
/* GET status: the host, its workers, and counters since NGINX started. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <sys/utsname.h>
#include "report/report.h"
#include "tls/trust.h"
#include "tls/worker.h"


ngx_int_t
ngx_http_certctl_report_workers(ngx_certctl_t *certctl)
{
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(certctl->cycle->conf_ctx,
                                           ngx_core_module);

    return ccf->worker_processes;
}


static void
ngx_http_certctl_status_host(ngx_http_certctl_json_t *json)
{
    u_char          os[sizeof(((struct utsname *) 0)->sysname)];
    size_t          len;
    struct utsname  host;

    if (uname(&host) == -1) {
        return;
    }

    len = ngx_strlen(host.sysname);
    ngx_strlow(os, (u_char *) host.sysname, len);

    ngx_http_certctl_json_text(json, "host", host.nodename);
    ngx_http_certctl_json_string(json, "os", os, len);
    ngx_http_certctl_json_text(json, "os_release", host.release);
    ngx_http_certctl_json_text(json, "architecture", host.machine);
}


/* Workers; and whether sessions from before the last flush are refused by all
   of them. */

static void
ngx_http_certctl_status_workers(ngx_http_certctl_json_t *json,
    ngx_certctl_t *certctl, ngx_atomic_uint_t generation)
{
    ngx_int_t              i, n;
    ngx_uint_t             all, flushed;
    ngx_certctl_zone_t    *zone;
    ngx_certctl_worker_t  *worker;

    zone = certctl->zone;
    n = ngx_http_certctl_report_workers(certctl);

    all = n <= NGX_CERTCTL_WORKERS;
    flushed = all;

    /* "workers" is a number, as controllers store it */

    ngx_http_certctl_json_number(json, "workers", n);
    ngx_http_certctl_json_open(json, "worker_states", '[');

    for (i = 0; i < ngx_min(n, NGX_CERTCTL_WORKERS); i++) {
        worker = &zone->workers[i];

        all &= ngx_certctl_worker_at(worker, generation);
        flushed &= ngx_certctl_worker_at(worker, 0)
                   && worker->sessions >= zone->sessions;

        ngx_http_certctl_json_open(json, NULL, '{');
        ngx_http_certctl_json_number(json, "pid", worker->pid);
        ngx_http_certctl_json_number(json, "generation", worker->generation);
        ngx_http_certctl_json_time(json, "last_active", worker->last_active);
        ngx_http_certctl_json_close(json, '}');
    }

    ngx_http_certctl_json_close(json, ']');
    ngx_http_certctl_json_flag(json, "all_at_generation", all);

    ngx_http_certctl_json_open(json, "sessions", '{');
    ngx_http_certctl_json_number(json, "epoch", zone->sessions);
    ngx_http_certctl_json_time(json, "flushed", zone->sessions / 1000000);
    ngx_http_certctl_json_flag(json, "all_workers", flushed);
    ngx_http_certctl_json_close(json, '}');
}


/* Never a key; its name is in each ticket in plain text (RFC 5077 4). */

static void
ngx_http_certctl_status_ticket_keys(ngx_http_certctl_json_t *json,
    ngx_certctl_t *certctl, time_t now)
{
    char                         name[2 * 16 + 1];
    certctl_ticket_set_t         set;
    const certctl_ticket_key_t  *key;

    if (!certctl->ticket_keys
        || certctl_store_ticket_set(certctl->store, &set) != CERTCTL_STORE_OK)
    {
        return;
    }

    key = certctl_ticket_key(&set, now);

    ngx_http_certctl_json_open(json, "ticket_keys", '{');
    ngx_http_certctl_json_number(json, "generation", set.generation);
    ngx_http_certctl_json_text(json, "source",
                               set.pushed ? "controller" : "host");
    ngx_http_certctl_json_number(json, "keys", set.n);

    if (key) {
        certctl_hex(key->name, sizeof(key->name), name);
        ngx_http_certctl_json_text(json, "current", name);
        ngx_http_certctl_json_time(json, "until", key->until);
    }

    ngx_http_certctl_json_close(json, '}');

    ngx_explicit_memzero(&set, sizeof(certctl_ticket_set_t));
}


/* Fingerprints of the CAs whose clients may command this host. */

static void
ngx_http_certctl_status_ca(const char *fingerprint, void *data)
{
    ngx_http_certctl_json_text(data, NULL, fingerprint);
}


static void
ngx_http_certctl_status_trust(ngx_http_certctl_json_t *json,
    ngx_certctl_t *certctl)
{
    X509_STORE  *all;

    (void) ngx_certctl_trust_all(certctl, &all);

    if (all == NULL) {
        return;
    }

    ngx_http_certctl_json_open(json, "trust", '{');

    ngx_http_certctl_json_open(json, "file", '[');
    ngx_certctl_trust_each(certctl->trust, ngx_http_certctl_status_ca, json);
    ngx_http_certctl_json_close(json, ']');

    ngx_http_certctl_json_open(json, "all", '[');
    ngx_certctl_trust_each(all, ngx_http_certctl_status_ca, json);
    ngx_http_certctl_json_close(json, ']');

    ngx_http_certctl_json_close(json, '}');

    X509_STORE_free(all);
}


/* The directories that discover may be asked for, as they are configured. */

static void
ngx_http_certctl_status_discover(ngx_http_certctl_json_t *json,
    ngx_array_t *dirs)
{
    ngx_str_t   *dir;
    ngx_uint_t   i, n;

    dir = dirs ? dirs->elts : NULL;
    n = dirs ? dirs->nelts : 0;

    ngx_http_certctl_json_open(json, "discover", '[');

    for (i = 0; i < n; i++) {
        ngx_http_certctl_json_string(json, NULL, dir[i].data, dir[i].len);
    }

    ngx_http_certctl_json_close(json, ']');
}


void
ngx_http_certctl_report_status(ngx_http_certctl_call_t *call)
{
    char                      epoch[NGX_INT64_LEN + 1];
    time_t                    now, started;
    ngx_certctl_t            *certctl;
    ngx_atomic_uint_t         generation;
    ngx_certctl_zone_t       *zone;
    ngx_http_certctl_json_t  *json;

    json = &call->json;
    certctl = &call->mcf->certctl;
    zone = certctl->zone;

    /* the zone is made when NGINX starts: its epoch begins with the time */

    now = time(NULL);
    started = zone->epoch >> 20;
    generation = zone->generation;
    *ngx_sprintf((u_char *) epoch, "%xA", zone->epoch) = '\0';

    ngx_http_certctl_json_open(json, NULL, '{');
    ngx_http_certctl_json_text(json, "version", CERTCTL_VERSION);
    ngx_http_certctl_json_text(json, "nginx", NGINX_VERSION);
    ngx_http_certctl_json_text(json, "openssl",
                               OpenSSL_version(OPENSSL_VERSION_STRING));
    ngx_http_certctl_status_host(json);
    ngx_http_certctl_json_time(json, "started", started);
    ngx_http_certctl_json_number(json, "uptime", now - started);
    ngx_http_certctl_json_text(json, "epoch", epoch);
    ngx_http_certctl_json_number(json, "generation", generation);
    ngx_http_certctl_status_workers(json, certctl, generation);
    ngx_http_certctl_status_ticket_keys(json, certctl, now);
    ngx_http_certctl_status_trust(json, certctl);
    ngx_http_certctl_status_discover(json, call->mcf->discover);
    ngx_http_certctl_json_number(json, "challenges_pending",
                       ngx_certctl_challenge_count(&zone->challenges, now));

    ngx_http_certctl_json_open(json, "counters", '{');
#define X(member, help)                                                       \
    ngx_http_certctl_json_number(json, #member, zone->member);
    NGX_HTTP_CERTCTL_COUNTERS(X)
#undef X
    ngx_http_certctl_json_number(json, "challenges_answered",
                                 zone->challenges.answered);
    ngx_http_certctl_json_close(json, '}');
    ngx_http_certctl_json_close(json, '}');

    call->status = NGX_HTTP_OK;
}
