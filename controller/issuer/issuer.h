/*
 * What an issuer connector is: a const struct of functions and a field table.
 * Connectors get a request and a configuration and return a result: they never
 * touch the database, never sleep, never log.  "Pending" is a normal result.
 *
 * To add one: 1. write controller/issuer/<name>.c with a struct issuer at its
 * end; 2. list it in issuer.c; 3. add t/2x-issuer-<name>.t and docs/issuers.md.
 */
#pragma once
#include "field.h"
#include <stdbool.h>
#include <time.h>

/* What the connector is asked for.  All borrowed. */
struct issuer_request {
    const char  *csr_pem;           /* PKCS#10, checked by the caller */
    const char  *sans;              /* "DNS:a,IP:192.0.2.1": what the certificate must name */
    const char  *serial;            /* hex, drawn and stored before the call; for
                                       CAs that let the caller choose */
    const char  *external_ref;      /* order URL or request id of an earlier call, or NULL */
    time_t       not_before;        /* stored before the call, so that a retry asks the same */
    time_t       not_after;
    bool         must_staple;
};

struct issuer_result {
    bool   issued;                  /* false: pending, ask again after retry_after */
    int    retry_after;             /* seconds */
    char  *chain_pem;               /* leaf first; free() */
    char  *external_ref;            /* to be stored before the next call; free() */
};

void issuer_result_free(struct issuer_result *result);

struct issuer {
    struct field_kind  kind;      /* first: see issuer_find() */

    /* Whether config can work at all; makes what is missing where it makes keys
     * of its own (config gains fields, secrets too). */
    bool (*prepare)(json_t *config, struct error *err);

    bool (*issue)(const json_t *config, const struct issuer_request *req,
        struct issuer_result *ret, struct error *err);

    /* NULL: this CA cannot.  serial in hex, reason as RFC 5280 5.3.1 numbers it. */
    bool (*revoke)(const json_t *config, const char *serial, int reason,
        struct error *err);

    /* NULL: ask the responder that the certificate names.  Else a DER OCSP
     * response for cert_der signed here; OPENSSL_free it. */
    bool (*ocsp)(const json_t *config, const unsigned char *cert_der, size_t len,
        time_t revoked_at, int reason, unsigned char **ret, size_t *ret_len,
        struct error *err);
};

/* By type or alias, letter case ignored; NULL when unknown. */
const struct issuer *issuer_find(const char *type);

/* Their types and configurations, NULL-terminated. */
extern const struct field_kind *const  issuer_kinds[];
