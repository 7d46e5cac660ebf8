/* Accounts at CAs: rows with a lock that outlives a transaction. */
#include "account.h"
#include "sql_order.h"

#include <stdio.h>

#define ACCOUNT_LEASE  "120"     /* seconds: longer than a step and its storing */

static void
account_context(char *out, size_t size, const char *issuer_id)
{
    snprintf(out, size, "issuers.account.%s", issuer_id);
}

/* The first column of row, unsealed. */
static bool
account_open(const struct core *c, const char *issuer_id, const PGresult *row,
    json_t **account, struct error *err)
{
    CLEANUP(secret) char  *text = NULL;
    char                   context[160];

    *account = NULL;

    if (PQntuples(row) == 0 || PQgetisnull(row, 0, 0)) {
        return true;
    }

    account_context(context, sizeof(context), issuer_id);
    text = unseal_text(c->seal, context, PQgetvalue(row, 0, 0), err);

    if (text == NULL) {
        return false;
    }

    *account = json_loads(text, 0, NULL);

    return *account || error_set(err, ERR_INTERNAL, "issuer %s: its account is damaged",
                                 issuer_id);
}

bool
account_load(const struct core *c, const char *issuer_id, json_t **account,
    struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = DB_EXEC(c->db, err, SQL_ACCOUNT_GET, issuer_id);

    return row && account_open(c, issuer_id, row, account, err);
}

bool
account_lock(const struct core *c, const char *issuer_id, const char *order_id,
    bool *held, json_t **account, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = NULL;

    row = DB_EXEC(c->db, err, SQL_ACCOUNT_LOCK, issuer_id, order_id, ACCOUNT_LEASE);
    *held = row && PQntuples(row) == 1;

    return row && account_open(c, issuer_id, row, account, err);
}

bool
account_store(const struct core *c, const char *issuer_id, const char *order_id,
    const json_t *account, struct error *err)
{
    CLEANUP(secret) char  *text = json_dumps(account, JSON_COMPACT);
    CLEANUP(mem) char     *sealed = NULL;
    char                   context[160];
    int                    rows;

    if (text == NULL) {
        return error_set(err, ERR_INTERNAL, "out of memory");
    }

    account_context(context, sizeof(context), issuer_id);
    sealed = seal_text(c->seal, context, text, err);

    if (sealed == NULL
        || !db_run(c->db, SQL_ACCOUNT_STORE, 3,
                   (const char *[]) { issuer_id, order_id, sealed }, &rows, err))
    {
        return false;
    }

    return rows == 1 || error_set(err, ERR_CONFLICT, "the account of issuer %s is held "
                                  "by another order", issuer_id);
}

bool
account_release(const struct core *c, const char *issuer_id,
    const char *order_id, struct error *err)
{
    return DB_RUN(c->db, err, SQL_ACCOUNT_RELEASE, issuer_id, order_id);
}
