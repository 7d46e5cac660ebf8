/* Opens the authority of an issuer's row, for one answer. */
#include "pki_issuer.h"
#include "issuers.h"
#include "local.h"
#include "log.h"

#include <stdio.h>

/* What a caller may know of; everything else is for the log. */
static bool
is_public(enum err code)
{
    return code == ERR_NOT_FOUND || code == ERR_UNAVAILABLE
           || code == ERR_UNSUPPORTED;
}

bool
pki_failed(struct request *r, const char *id)
{
    char  context[160];

    if (is_public(r->err.code)) {
        return false;
    }

    snprintf(context, sizeof(context), "request=%s issuer=%.100s", r->id, id);
    log_event(LOG_ERROR, context, "%s", r->err.detail);

    return error_set(&r->err, ERR_INTERNAL, "this issuer's CA cannot be used; the "
                     "log says why");
}

bool
pki_issuer_open(struct request *r, const char *id, struct pki_issuer *ret)
{
    bool                    enabled;
    struct ca              *ca;
    CLEANUP(json) json_t   *config = NULL;
    const struct issuer    *issuer;
    struct core             core = { r->db, r->ctx->seal, r->actor, r->actor_type };

    issuer = issuers_open(&core, id, &config, &enabled, &r->err);

    if (issuer == NULL) {
        return pki_failed(r, id);
    }

    if (issuer != &issuer_local) {
        return error_set(&r->err, ERR_UNSUPPORTED, "the CA of issuer %.100s is "
                         "elsewhere: ask where its certificates point to", id);
    }

    ca = local_ca(config, time(NULL), &r->err);

    if (ca == NULL) {
        return pki_failed(r, id);
    }

    *ret = (struct pki_issuer) { ca, local_ocsp_life(config) };

    return true;
}

void
pki_header_time(struct request *r, const char *name, time_t when)
{
    struct tm  tm;
    char       text[40];

    gmtime_r(&when, &tm);
    strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    rest_header(r, name, text);
}
