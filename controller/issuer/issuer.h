/*
 * What an issuer connector is: a const struct of functions and a field table.
 * An order is a state machine: the engine (core/order_step.c) calls step(),
 * stores what it returns and calls again, until a certificate is there, the
 * order has failed or its deadline has passed.  The process may be killed
 * between any two lines: the next call gets the state that was stored last, so
 * what a step must not do twice it announces in the state first, or does under
 * request->order_id as the CA's idempotency key.
 *
 * Connectors never touch the database, never sleep, never log; all they know is
 * in their arguments.  To wait they return ISSUER_PENDING.
 *
 * To add one: 1. write controller/issuer/<name>.c with a struct issuer at its
 * end; 2. list it in issuer.c; 3. add t/2x-issuer-<name>.t and docs/connectors/<name>.md.
 */
#pragma once
#include "field.h"
#include "http.h"
#include <stdbool.h>
#include <time.h>

#define ISSUER_CHALLENGES_MAX  100       /* one for each name of a certificate */

/* What an order is for; it stays the same in all its steps.  All borrowed. */
struct issuer_request {
    const char  *order_id;          /* of this controller, never used again */
    const char  *csr_pem;           /* PKCS#10, checked by the caller */
    const char  *sans;              /* "DNS:a,IP:192.0.2.1": what the certificate must name */
    const char  *serial;            /* hex, drawn and stored before the first step;
                                       for CAs that let the caller choose */
    time_t       not_before;        /* stored before the first step as well */
    time_t       not_after;
    bool         must_staple;
};

/* What the connector works with.  All borrowed. */
struct issuer_context {
    const json_t        *config;         /* its configuration, secrets included */
    const json_t        *account;        /* what it has stored for all orders of this
                                            issuer (sealed), or NULL */
    bool                 account_held;   /* this order alone may change it now */
    struct http_client  *http;
    time_t               now;
    time_t               deadline;       /* of the order, 0 outside of one */
    bool                 resumed;        /* this step may have been begun before, by a
                                            process that has died in it */
};

enum issuer_outcome {
    ISSUER_FAILED,        /* fault, err and problem */
    ISSUER_ISSUED,        /* chain_pem */
    ISSUER_PENDING,       /* again with state: retry_after seconds, 0: at once */
    ISSUER_CHALLENGES,    /* again with state when challenges are placed on every
                             host that serves the name, or withdrawn */
    ISSUER_ACCOUNT        /* again with state when account_held; any other outcome
                             gives the account back */
};

enum issuer_fault {
    ISSUER_TEMPORARY,     /* an order that has a state is continued later, until its
                             deadline; one without is tried a few times */
    ISSUER_PERMANENT,     /* the order ends */
    ISSUER_LIMITED        /* no order of this issuer goes on for retry_after seconds */
};

struct issuer_challenge {
    const char  *type;              /* "http-01", "tls-alpn-01" */
    char        *identifier;        /* DNS name or IP address; free() */
    char        *name;              /* token, or for tls-alpn-01 the identifier; free() */
    char        *value;             /* key authorization, or its SHA-256 in hex; free() */
    bool         withdraw;          /* else place; all challenges are withdrawn when
                                       the order ends */
};

/* What a step returns: zero at first, and freed by issuer_step_free(). */
struct issuer_step {
    enum issuer_outcome       outcome;
    json_t                   *state;          /* stored before the next step, nothing
                                                 secret; NULL: as it was; json_decref */
    json_t                   *account;        /* the new one, only while account_held;
                                                 NULL: as it was; json_decref */
    int                       retry_after;    /* seconds */
    char                     *chain_pem;      /* leaf first; free() */
    struct issuer_challenge  *challenges;     /* free(), as its texts */
    size_t                    nchallenges;
    enum issuer_fault         fault;
    struct error              err;            /* a sentence for people */
    json_t                   *problem;        /* what the CA said, as it came (RFC 9457
                                                 where it speaks it), or NULL */
};

void issuer_step_free(struct issuer_step *step);

/* Fills step with a failure; the fault follows from the code: rate limited for
 * THROTTLED, permanent for what breaks a rule, else temporary. */
void issuer_step_failed(struct issuer_step *step, const struct error *why);

/* A certificate that this issuer has issued.  All borrowed. */
struct issuer_certificate {
    const char  *chain_pem;         /* leaf first */
    const char  *serial;            /* hex */
};

/* Appends to the report of a test what was tried, and how it went: why is NULL when
 * it worked.  detail: what is to be known even so, or NULL. */
void issuer_report(json_t *report, const char *step, const struct error *why,
    const char *detail);

struct issuer {
    struct field_kind  kind;      /* first: see issuer_find() */

    /* Whether config can work at all; makes what is missing where it makes keys
     * of its own (config gains fields, secrets too). */
    bool (*prepare)(json_t *config, struct error *err);

    /* The next step of an order; state is what the step before returned, NULL in
     * the first one. */
    void (*step)(const struct issuer_context *ctx, const json_t *state,
        const struct issuer_request *req, struct issuer_step *ret);

    /* What only some CAs can, NULL for the others. */

    /* reason as RFC 5280 5.3.1 numbers it; harmless to repeat. */
    bool (*revoke)(const struct issuer_context *ctx,
        const struct issuer_certificate *cert, int reason, struct error *err);

    /* A DER OCSP response for cert_der signed here; OPENSSL_free it.  NULL: ask
     * the responder that the certificate names. */
    bool (*ocsp)(const json_t *config, const unsigned char *cert_der, size_t len,
        time_t revoked_at, int reason, unsigned char **ret, size_t *ret_len,
        struct error *err);

    /* The CA's certificate and those above it as PEM; free it. */
    bool (*chain)(const struct issuer_context *ctx, char **ret, struct error *err);

    /* Tries what can be tried without ordering anything, and reports each with
     * issuer_report(); true when all of them work. */
    bool (*test)(const struct issuer_context *ctx, json_t *report,
        struct error *err);
};

/* By type or alias, letter case ignored; NULL when unknown. */
const struct issuer *issuer_find(const char *type);

/* Their types and configurations, NULL-terminated. */
extern const struct field_kind *const  issuer_kinds[];
