/* The configuration of the daemon: a table of fields, read from a file, the
 * environment and flags. */
#pragma once
#include "error.h"
#include "field.h"
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

extern const struct field  conf_fields[];

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

/* The default of a key, as it stands in the file. */
void conf_default(const struct field *f, char *out, size_t size);
