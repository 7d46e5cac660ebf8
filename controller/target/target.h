/*
 * What a target connector is: how a certificate reaches the place where it is
 * served.  Connectors never touch the database, never sleep, never log.
 *
 * To add one: 1. write controller/target/<name>.c with a struct target at its
 * end; 2. list it in target.c; 3. add t/2x-target-<name>.t.
 */
#pragma once
#include "field.h"
#include "http.h"
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

/* How to reach a host.  All borrowed. */
struct target_link {
    struct http_client  *http;
    const char          *agent_id;
    const char          *url;         /* "https://edge1:9443" */
    const char          *ca_pem;      /* the fleet CA */
    const char          *cert_pem;    /* the controller's identity */
    const char          *key_pem;
    const char          *pin;         /* first contact: fingerprint; else NULL */
    bool                 trust_any;   /* first contact without a fingerprint */
};

/* host:port, as a field of configurations. */
#define TARGET_PROBE                                                          \
    "(\\[[0-9A-Fa-f:.]{2,45}\\]|[A-Za-z0-9._-]{1,253}):[0-9]{1,5}"

#define TARGET_MANY  64          /* certificates that are installed together */

/* One of the certificates to install, and what came of it. */
struct target_item {
    const char           *record;
    const char           *chain_pem;
    const unsigned char  *staple;         /* its DER OCSP response; NULL: none */
    size_t                staple_len;

    bool                  installed;
    char                  fingerprint[65];   /* of what is live */
    struct error          err;               /* why it is not installed */
};

/* Which page of a report. */
struct target_ask {
    bool         full;         /* with chains and server blocks; else compact */
    const char  *name;         /* of this record only, or NULL */
    const char  *after;        /* "next" of the page before; NULL: the first page */
    const char  *etag;         /* of the report that is known, or NULL */
};

struct target_page {
    json_t      *report;       /* NULL when unchanged */
    const char  *next;         /* in report; NULL: this is the last page */
    char        *etag;
    bool         unchanged;    /* the etag that was sent still stands */
};

static inline void
target_page_cleanup(struct target_page *page)
{
    json_decref(page->report);
    free(page->etag);
    *page = (struct target_page) { 0 };
}

struct target {
    struct field_kind  kind;      /* first: see target_find() */

    /* A NULL below: not by this controller, but by an agent on the host. */

    /* Whether a host with this certificate may be met for the first time, when no
     * CA vouches for it: nothing else is sent a request.  NULL without a first
     * contact. */
    http_leaf         *identity;

    /* A key is made on the host and stays there; *csr_pem is to be freed.  A
     * repeated call for the same names gives the request of the call before. */
    bool (*csr)(const struct target_link *link, const char *record,
        const char *key_type, const char *sans, bool must_staple,
        char **csr_pem, struct error *err);

    /* Makes up to TARGET_MANY chains live, each with its OCSP response in one step
     * and by itself: one that is refused does not hinder another.  Records are
     * different ones.  Fills the second half of each; harmless to repeat. */
    void (*install)(const struct target_link *link, struct target_item *items,
        int n);

    /* A DER OCSP response for the certificate of that fingerprint. */
    bool (*staple)(const struct target_link *link, const char *fingerprint,
        const void *der, size_t len, struct error *err);

    /* The host answers a challenge for life seconds, on all its servers: type is
     * "http-01" (name is the token, value the key authorization) or
     * "tls-alpn-01" (the identifier, the key authorization's SHA-256 in hex).
     * One of the same name is replaced. */
    bool (*challenge_put)(const struct target_link *link, const char *type,
        const char *name, const char *value, int life, struct error *err);

    /* True as well when there is none. */
    bool (*challenge_delete)(const struct target_link *link, const char *type,
        const char *name, struct error *err);

    bool (*rollback)(const struct target_link *link, const char *record,
        struct error *err);

    bool (*remove)(const struct target_link *link, const char *record,
        struct error *err);

    /* The host lets clients of these CAs command it, besides those of its own file;
     * the set before counts no more. */
    bool (*trust)(const struct target_link *link, const char *ca_pem,
        struct error *err);

    /* What is live, page by page. */
    bool (*report)(const struct target_link *link, const struct target_ask *ask,
        struct target_page *ret, struct error *err);

    bool (*status)(const struct target_link *link, json_t **status,
        char **fingerprint, struct error *err);
};

/* Their types and configurations, NULL-terminated; the first is what a target
 * without a type is. */
extern const struct field_kind *const  target_kinds[];

const struct target *target_find(const char *type);
