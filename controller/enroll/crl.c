/* The CRL of an issuer: the one in the database, or the next one. */
#include "enroll.h"
#include "pki_issuer.h"
#include "sql_pki.h"
#include "x509_info.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CRL_LIFE      (7 * 86400)      /* thisUpdate to nextUpdate: it outlasts an
                                          absence of the controller */
#define CRL_REFRESH   "21600"          /* seconds after which the next is made even
                                          when nothing was revoked */
#define CRL_KEEP      "691200"         /* how long an entry outlives its certificate:
                                          CRL_LIFE and a day */
#define CRL_MAX_AGE   "public, max-age=300"

enum { NUMBER, THIS_UPDATE, NEXT_UPDATE, DER };         /* crl_current, crl_store */
enum { NEXT_NUMBER, VERSION, NOW };                     /* crl_next */
enum { SERIAL, REVOKED_AT, REASON };                    /* crl_entries */

CLEANUP_FUNC(pg_mem, unsigned char *, PQfreemem)
CLEANUP_FUNC(revoked, struct ca_revoked *, free)

static time_t
row_time(const PGresult *rows, int row, int column)
{
    return strtoll(PQgetvalue(rows, row, column), NULL, 10);
}

static bool
crl_reply(struct request *r, const PGresult *row)
{
    size_t                            len;
    CLEANUP(pg_mem) unsigned char    *der = NULL;
    char                              tag[40];

    der = PQunescapeBytea((unsigned char *) PQgetvalue(row, 0, DER), &len);

    if (der == NULL) {
        return error_set(&r->err, ERR_INTERNAL, "CRL: out of memory");
    }

    snprintf(tag, sizeof(tag), "\"crl-%.20s\"", PQgetvalue(row, 0, NUMBER));

    r->content_type = "application/pkix-crl";
    rest_header(r, "ETag", tag);
    rest_header(r, "Cache-Control", CRL_MAX_AGE);
    pki_header_time(r, "Last-Modified", row_time(row, 0, THIS_UPDATE));
    pki_header_time(r, "Expires", row_time(row, 0, NEXT_UPDATE));

    return rest_reply_text(r, (char *) der, len);
}

/* The row of crl_current when the CRL there is can be served; *fresh says so. */
static PGresult *
crl_current(struct request *r, const char *issuer, bool *fresh)
{
    PGresult  *row = DB_EXEC(r->db, &r->err, SQL_CRL_CURRENT, issuer, CRL_REFRESH);

    *fresh = row && PQntuples(row) && !PQgetisnull(row, 0, DER);

    return row;
}

/* Entries point into rows. */
static struct ca_revoked *
entries_read(const PGresult *rows)
{
    struct ca_revoked  *entries = calloc(PQntuples(rows) + 1, sizeof(*entries));

    for (int i = 0; entries && i < PQntuples(rows); i++) {
        entries[i] = (struct ca_revoked) {
            .serial = PQgetvalue(rows, i, SERIAL),
            .revoked_at = row_time(rows, i, REVOKED_AT),
            .reason = (int) row_time(rows, i, REASON)
        };
    }

    return entries;
}

/* Its row, or NULL. */
static PGresult *
crl_store(struct request *r, const char *issuer, const PGresult *next,
    const struct ca_crl_spec *spec, const unsigned char *der, size_t len)
{
    CLEANUP(mem) char  *hex = malloc(2 * len + 1);
    char                this_update[24], next_update[24], count[24];

    if (hex == NULL) {
        error_set(&r->err, ERR_INTERNAL, "CRL: out of memory");
        return NULL;
    }

    certctl_hex(der, len, hex);
    snprintf(this_update, sizeof(this_update), "%lld", (long long) spec->this_update);
    snprintf(next_update, sizeof(next_update), "%lld", (long long) spec->next_update);
    snprintf(count, sizeof(count), "%zu", spec->nrevoked);

    return DB_EXEC(r->db, &r->err, SQL_CRL_STORE, issuer,
                   PQgetvalue(next, 0, NEXT_NUMBER), this_update, next_update, count,
                   hex, PQgetvalue(next, 0, VERSION));
}

/* What is stored as the issuer's version is read before its keys are: a CRL is
 * never taken to be signed by newer keys than it is. */
static PGresult *
crl_make(struct request *r, const char *issuer)
{
    unsigned char                      *der = NULL;
    size_t                              len;
    struct ca_crl_spec                  spec = { 0 };
    PGresult                           *made;
    CLEANUP(pgresult) PGresult         *next = NULL, *rows = NULL;
    CLEANUP(revoked) struct ca_revoked *entries = NULL;
    const struct pki_issuer            *authority;

    next = DB_EXEC(r->db, &r->err, SQL_CRL_NEXT, issuer);

    if (next == NULL) {
        return NULL;
    }

    if (PQntuples(next) == 0) {
        error_not_found(&r->err, "issuer", issuer);
        return NULL;
    }

    if ((authority = pki_issuer_open(r, issuer)) == NULL
        || !DB_RUN(r->db, &r->err, SQL_CRL_CHANGES_TAKE, issuer)
        || (rows = DB_EXEC(r->db, &r->err, SQL_CRL_ENTRIES, issuer, CRL_KEEP)) == NULL)
    {
        return NULL;
    }

    entries = entries_read(rows);
    spec.revoked = entries;
    spec.nrevoked = PQntuples(rows);
    spec.number = row_time(next, 0, NEXT_NUMBER);
    spec.this_update = row_time(next, 0, NOW) - CA_OCSP_SKEW;
    spec.next_update = row_time(next, 0, NOW) + CRL_LIFE;

    if (entries == NULL || !ca_crl(authority->ca, &spec, &der, &len, &r->err)) {
        pki_failed(r, issuer);
        return NULL;
    }

    made = crl_store(r, issuer, next, &spec, der, len);
    OPENSSL_free(der);

    return made;
}

/*
 * One makes it, in a transaction, while others wait for the lock.  What is found
 * or made behind the lock contains all that was revoked before the request came:
 * it is the answer, whatever is revoked meanwhile.
 */
static PGresult *
crl_renew(struct request *r, const char *issuer)
{
    bool                        fresh;
    CLEANUP(db_tx) struct db   *tx = NULL;
    CLEANUP(pgresult) PGresult *row = NULL;

    if (!db_begin(r->db, &r->err)) {
        return NULL;
    }

    tx = r->db;

    if (!DB_RUN(tx, &r->err, SQL_CRL_LOCK, issuer)
        || (row = crl_current(r, issuer, &fresh)) == NULL)
    {
        return NULL;
    }

    if (!fresh) {
        PQclear(row);
        row = crl_make(r, issuer);
    }

    return row && db_commit(tx, &r->err) ? TAKE(row) : NULL;
}

bool
enroll_crl(struct request *r)
{
    bool                         fresh;
    const char                  *issuer = r->args[0];
    CLEANUP(pgresult) PGresult  *row = crl_current(r, issuer, &fresh);

    if (row && !fresh) {
        PQclear(row);
        row = crl_renew(r, issuer);
    }

    return row && crl_reply(r, row);
}
