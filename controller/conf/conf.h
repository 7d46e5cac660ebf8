/* What the daemon was told: one table of keys, from file, environment and flags. */
#pragma once
#include "error.h"
#include "network.h"
#include <stdbool.h>
#include <stdio.h>

struct conf {
    char  *data_dir;               /* everything the daemon keeps on disk */
    char  *listen;                 /* REST API, TLS: "127.0.0.1:8443" */
    char  *pki_listen;             /* CRL and OCSP over plain HTTP; "" for none */
    char  *pki_url;                /* how clients reach pki_listen: goes into
                                      AIA and CDP of issued certificates */
    char  *database;               /* postgres://...; "" for the private cluster */
    bool   demo;                   /* demo data, no key needed on loopback */
    int    api_threads;
    int    job_threads;
    int    inventory_interval;     /* seconds between two looks at a module */
    int    loop_tick;              /* how often due modules are looked for */
    int    renewal_interval;
    int    expiry_interval;
    int    ocsp_interval;
    int    reaper_interval;
    int    job_lease;
    int    max_issuances_per_day;  /* of one certificate, then it stops */
    char  *outgoing_networks;      /* as given */
    struct networks  outgoing;     /* the same, and loopback with demo */
    bool   ocsp_private_addresses; /* OCSP responders may be in private ranges */
    char  *api_names;              /* names in the API's own certificate */
    char  *log_level;              /* error, warn, notice, info, debug */
};

/* One row: see conf.c. */
struct conf_key {
    const char  *name;             /* "api_threads": file key; --api-threads,
                                      CERTCTL_API_THREADS */
    int          type;             /* enum conf_type */
    size_t       offset;
    const char  *init;             /* default, as text */
    int          flags;
    long         min, max;         /* numbers */
    const char  *allowed;          /* space-separated words, or a rule in words */
    const char  *help;
};

enum conf_type { CONF_TEXT, CONF_INT, CONF_BOOL, CONF_WORD };
enum conf_flags {
    CONF_SECRET   = 1,                 /* masked by conf_print */
    CONF_NETWORKS = 2                  /* a text that network.h reads */
};

extern const struct conf_key  conf_keys[];     /* NULL name ends */

/*
 * Defaults, then the file named by --config, then CERTCTL_<KEY> in env, then
 * flags.  A wrong key or value: ERR_INVALID with file, line and what is
 * allowed.  *test is set by -T.
 */
bool conf_load(struct conf *conf, int argc, char **argv, bool *test,
    struct error *err);
void conf_free(struct conf *conf);

/* The effective configuration in the file's own form, secrets as "********". */
void conf_print(const struct conf *conf, FILE *out);
void conf_usage(FILE *out);
