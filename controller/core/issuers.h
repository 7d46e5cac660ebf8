/* Issuer rows and their connectors: configuration with its secrets unsealed. */
#pragma once
#include "core.h"
#include "issuer.h"

/* The connector and whole configuration of an enabled issuer (json_decref). */
const struct issuer *issuers_load(const struct core *c, const char *issuer_id,
    json_t **config, struct error *err);

/*
 * The same whether it is enabled or not: what it has issued goes on to have a
 * CRL and OCSP responses.
 */
const struct issuer *issuers_open(const struct core *c, const char *issuer_id,
    json_t **config, bool *enabled, struct error *err);

/*
 * Creates or updates an issuer from a request body: checks fields against the
 * connector's table, runs prepare(), seals secret fields.  id NULL: a new one.
 */
bool issuers_store(const struct core *c, const char *id, const json_t *body,
    char **id_out, struct error *err);

/*
 * The account's own local CA, made on the first start; pki_url goes into the
 * certificates that it issues.
 */
bool issuers_ensure_local(const struct core *c, const char *pki_url,
    struct error *err);

/*
 * Lets every enabled issuer renew what it keeps for itself (an OCSP responder's
 * certificate); to be called every hour.
 */
bool issuers_refresh(const struct core *c, struct error *err);
