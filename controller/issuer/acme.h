/* An ACME server as an issuer (RFC 8555), for the files of this connector. */
#pragma once
#include "issuer.h"
#include <openssl/evp.h>

extern const struct issuer  issuer_acme;
extern const struct field   acme_fields[];

/* A field's text, "" when it is not there.  Borrowed. */
const char *acme_text(const json_t *object, const char *name);

/* What the fields must be together; each by itself is field_check()'s. */
bool acme_prepare(json_t *config, struct error *err);

/*
 * One call's talk with a server.  Zero and acme_open() at first, then requests;
 * acme_close().  The nonce of an answer is used by the next request (RFC 8555 6.5).
 */
struct acme {
    const struct issuer_context  *ctx;
    const json_t                 *directory;   /* borrowed: its URLs, or NULL */
    const char                   *account_url; /* "kid", NULL: the key stands for it */
    EVP_PKEY                     *key;         /* of the account, or NULL */
    char                         *ca_pem;      /* roots for the server, or NULL */
    char                         *nonce;       /* unused, or NULL */
    json_t                       *problem;     /* the server's last one (RFC 7807), or NULL */
    bool                          no_account;  /* and it was accountDoesNotExist */
};

/* Reads ca_bundle, and the account that ctx has. */
bool acme_open(struct acme *acme, const struct issuer_context *ctx, struct error *err);
void acme_close(struct acme *acme);

static inline void
acme_cleanup(struct acme *acme)
{
    acme_close(acme);
}

/* The account's key and URL out of what account() or a step has stored. */
bool acme_account(struct acme *acme, const json_t *account, struct error *err);

/* An answer of 2xx.  Zero at first, and acme_answer_free(). */
struct acme_answer {
    struct http_response  http;
    json_t               *body;                /* NULL: no JSON */
};

void acme_answer_free(struct acme_answer *answer);

static inline void
acme_answer_cleanup(struct acme_answer *answer)
{
    acme_answer_free(answer);
}

/* GET without a signature, for the directory only (RFC 8555 7.1.1). */
bool acme_get(struct acme *acme, const char *url, struct acme_answer *ret,
    struct error *err);

/*
 * A signed request (RFC 8555 6.2); payload is stolen, NULL for POST-as-GET.  A
 * refused nonce is tried again with a new one.  False with err for whatever is no
 * 2xx: its code says what comes of it (issuer_step_failed), acme->problem is what
 * the server said.
 */
bool acme_post(struct acme *acme, const char *url, json_t *payload,
    struct acme_answer *ret, struct error *err);

/* Text member of an object, NULL when it is not there or not a text. */
const char *acme_string(const json_t *object, const char *name);

/* "what: type: detail" of a problem, or of one of its subproblems (RFC 8555 6.7.1). */
bool acme_problem_error(const json_t *problem, enum err code, const char *what,
    struct error *err);

/* The directory of the configuration, with what an order needs in it; json_decref. */
json_t *acme_directory(struct acme *acme, struct error *err);

/* POSTs newAccount; only_existing: never makes one (RFC 8555 7.3.1). */
bool acme_register(struct acme *acme, bool only_existing, struct acme_answer *ret,
    struct error *err);

/* An order's steps (issuer.h). */
void acme_step(const struct issuer_context *ctx, const json_t *state,
    const struct issuer_request *req, struct issuer_step *ret);
