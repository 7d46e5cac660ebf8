/* Revocation: the certificate's row and serials at once, its CA by a job. */
#include "revocation.h"

#include "account.h"
#include "issuers.h"
#include "sql_core.h"
#include "states.h"
#include "work.h"

#include <stdio.h>
#include <string.h>

CLEANUP_FUNC(json_ref, json_t *, json_decref)

/* CRLReason of RFC 5280 5.3.1; 7 is unused, 8 is for delta CRLs. */
static const struct { const char *name; const char *code; } reasons[] = {
    { "unspecified", "0" },
    { "keyCompromise", "1" },
    { "caCompromise", "2" },
    { "affiliationChanged", "3" },
    { "superseded", "4" },
    { "cessationOfOperation", "5" },
    { "certificateHold", "6" },
    { "privilegeWithdrawn", "9" },
};

const char *
revocation_reason(const char *name, struct error *err)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (strcmp(reasons[i].name, name) == 0) {
            return reasons[i].code;
        }
    }

    error_set(err, ERR_INVALID, "reason \"%.40s\" is none of RFC 5280 5.3.1: "
              "unspecified, keyCompromise, caCompromise, affiliationChanged, "
              "superseded, cessationOfOperation, certificateHold, "
              "privilegeWithdrawn", name);

    return NULL;
}

bool
revocation_request(const struct core *c, const char *certificate_id,
    const char *reason, struct error *err)
{
    const char  *code = revocation_reason(reason, err);

    return code
           && DB_RUN(c->db, err, SQL_CERTIFICATE_JOBS_LOCK, certificate_id)
           && certificate_allows(c, certificate_id, "revoke", err)
           && DB_RUN(c->db, err, SQL_CERTIFICATE_STOP, certificate_id,
                     "the certificate was revoked", "true")
           && DB_RUN(c->db, err, SQL_REVOCATION_RECORD, certificate_id, reason, code,
                     c->actor);
}

enum { ISSUER, SERIAL, CODE, CHAIN };

static bool
revocation_notify(struct work *w, const PGresult *rows, int i, struct error *err)
{
    CLEANUP(json_ref) json_t   *config = NULL, *account = NULL;
    const struct issuer        *issuer;
    bool                        enabled;
    struct issuer_context       ctx = { .http = w->http, .now = time(NULL) };
    struct issuer_certificate   cert = { PQgetvalue(rows, i, CHAIN),
                                         PQgetvalue(rows, i, SERIAL) };

    /* A disabled issuer issues no more, but what it has issued can be revoked. */
    issuer = issuers_open(&w->core, PQgetvalue(rows, i, ISSUER), &config, &enabled,
                          err);

    if (issuer == NULL
        || !account_load(&w->core, PQgetvalue(rows, i, ISSUER), &account, err))
    {
        return false;
    }

    ctx.config = config;
    ctx.account = account;

    if (issuer->revoke
        && !issuer->revoke(&ctx, &cert, strtol(PQgetvalue(rows, i, CODE), NULL, 10), err))
    {
        return false;
    }

    return DB_RUN(w->core.db, err, SQL_REVOCATION_NOTIFIED,
                  PQgetvalue(rows, i, ISSUER), PQgetvalue(rows, i, SERIAL));
}

static enum work_result
revocation_notify_all(struct work *w, struct error *err)
{
    CLEANUP(pgresult) PGresult  *rows = NULL;

    rows = DB_EXEC(w->core.db, err, SQL_REVOCATION_PENDING, w->certificate_id);

    for (int i = 0; i < PQntuples(rows); i++) {
        if (!work_alive(w, err) || !revocation_notify(w, rows, i, err)) {
            return WORK_FAILED;
        }
    }

    return rows ? WORK_DONE : WORK_FAILED;
}

/* What the CA still issues is revoked when it is stored (version_arrived() of the
 * schema), and its CA is told next. */
enum work_result
revocation_run(struct work *w, struct error *err)
{
    enum work_result  result = revocation_notify_all(w, err), rest;

    if (result != WORK_DONE) {
        return result;
    }

    rest = order_finish(w, err);

    if (rest == WORK_FAILED) {
        return rest;
    }

    result = revocation_notify_all(w, err);

    return result == WORK_DONE ? rest : result;
}
