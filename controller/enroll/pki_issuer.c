/* The authorities that a thread answers for: opened, kept while their rows stay. */
#include "pki_issuer.h"
#include "issuers.h"
#include "local.h"
#include "log.h"
#include "sql_pki.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_MAX      8
#define KEPT_SECONDS  60               /* for what comes from files */

/* Keys are slow to read: 40 responses can be signed in that time. */
struct kept {
    char               id[101];        /* "" when free */
    char               version[40];    /* of the row that it was opened from */
    time_t             since;          /* monotonic */
    struct pki_issuer  issuer;
};

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

static bool
authority_open(struct request *r, const char *id, struct pki_issuer *ret)
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

static void
kept_end(void *thing)
{
    struct kept  *kept = thing;

    for (size_t i = 0; i < KEPT_MAX; i++) {
        ca_free(kept[i].issuer.ca);
    }

    free(kept);
}

/* The one of that id; else the one to give way. */
static struct kept *
kept_find(struct request *r, const char *id)
{
    struct kept  *kept, *oldest;

    if (r->keep->thing == NULL) {
        r->keep->thing = calloc(KEPT_MAX, sizeof(*kept));
        r->keep->end = kept_end;
    }

    kept = oldest = r->keep->thing;

    for (size_t i = 0; kept && i < KEPT_MAX; i++) {
        if (strcmp(kept[i].id, id) == 0) {
            return &kept[i];
        }

        if (kept[i].since < oldest->since) {
            oldest = &kept[i];
        }
    }

    return oldest;
}

static bool
kept_renew(struct request *r, struct kept *kept, const char *id,
    const char *version, time_t now)
{
    struct pki_issuer  issuer;

    if (!authority_open(r, id, &issuer)) {
        return false;
    }

    ca_free(kept->issuer.ca);

    kept->issuer = issuer;
    kept->since = now;
    snprintf(kept->id, sizeof(kept->id), "%s", id);
    snprintf(kept->version, sizeof(kept->version), "%s", version);

    return true;
}

/* The version is asked for first: what is kept is never taken for newer than it
 * is. */
const struct pki_issuer *
pki_issuer_open(struct request *r, const char *id)
{
    struct timespec              now;
    struct kept                 *kept;
    const char                  *version;
    CLEANUP(pgresult) PGresult  *row = DB_EXEC(r->db, &r->err, SQL_PKI_VERSION, id);

    if (row == NULL) {
        return NULL;
    }

    if (PQntuples(row) == 0) {
        error_not_found(&r->err, "issuer", id);
        return NULL;
    }

    version = PQgetvalue(row, 0, 0);
    kept = kept_find(r, id);
    clock_gettime(CLOCK_MONOTONIC, &now);

    if (kept == NULL) {
        error_set(&r->err, ERR_INTERNAL, "CA: out of memory");
        return NULL;
    }

    if (strcmp(kept->id, id) == 0 && strcmp(kept->version, version) == 0
        && now.tv_sec - kept->since < KEPT_SECONDS)
    {
        return &kept->issuer;
    }

    return kept_renew(r, kept, id, version, now.tv_sec) ? &kept->issuer : NULL;
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
