/* The key that seals is the database's word; the file says which ones there are. */
#include "seal_keys.h"

#include "cleanup.h"
#include "log.h"
#include "point.h"
#include "sql_seal.h"

#include <stdio.h>
#include <string.h>

enum { PLACE, ROW_ID, CONTEXT, SEALED };

/* "{a,b}" of the keys of this process. */
static void
keys_held(const struct seal *seal, char *out, size_t size)
{
    char    id[SEAL_ID];
    size_t  n = snprintf(out, size, "{");

    for (int i = 0; seal_key_id(seal, i, id); i++) {
        n += snprintf(out + n, size - n, "%s%s", i ? "," : "", id);
    }

    snprintf(out + n, size - n, "}");
}

/* The current key; the file's first one where there was none yet. */
static char *
keys_current(const struct core *c, struct error *err)
{
    char  first[SEAL_ID] = "";

    seal_key_id(c->seal, 0, first);

    return DB_VALUE(c->db, err, SQL_SEAL_CURRENT, first);
}

/* Refused when a value needs a key that the file does not have. */
static bool
keys_complete(const struct core *c, const char *path, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = NULL;
    char                         held[SEAL_KEYS_MAX * (SEAL_ID + 1) + 3];

    keys_held(c->seal, held, sizeof(held));
    row = DB_EXEC(c->db, err, SQL_SEAL_MISSING, held);

    return row && (PQntuples(row) == 0
                   || error_set(err, ERR_INVALID, "%s has no key %s, which %s sealed values need "
                                "(%s): bring it back from the backup, or from another replica",
                                path, PQgetvalue(row, 0, 0), PQgetvalue(row, 0, 1),
                                PQgetvalue(row, 0, 2)));
}

bool
seal_keys_start(const struct core *c, struct seal *seal, const char *path,
    struct error *err)
{
    CLEANUP(mem) char  *id = NULL;

    return keys_complete(c, path, err)
           && (id = keys_current(c, err)) != NULL
           && (seal_use(seal, id)
               || error_set(err, ERR_INVALID, "%s has no key %s, which seals: bring it back from "
                            "the backup, or from another replica", path, id));
}

bool
seal_keys_follow(const struct core *c, struct seal *seal, const char *path,
    const char *process, struct error *err)
{
    CLEANUP(mem) char  *id = NULL;
    char                held[SEAL_KEYS_MAX * (SEAL_ID + 1) + 3];

    if (!seal_reload(seal, path, err) || (id = keys_current(c, err)) == NULL) {
        return false;
    }

    keys_held(seal, held, sizeof(held));

    return DB_RUN(c->db, err, SQL_SEAL_HOLDS, process, held)
           && (seal_use(seal, id)
               || error_set(err, ERR_INVALID, "%s has no key %s, which seals: copy the file from "
                            "the replica that has it", path, id));
}

bool
seal_keys_use(const struct core *c, const char *id, struct error *err)
{
    CLEANUP(pgresult) PGresult  *row = DB_EXEC(c->db, err, SQL_SEAL_KEY, id);

    if (row == NULL) {
        return false;
    }

    if (PQntuples(row) == 0) {
        return error_set(err, ERR_NOT_FOUND, "no process has a sealing key %s: add one to "
                         "seal.key, and wait until it is read", id);
    }

    return strcmp(PQgetvalue(row, 0, 0), "0") == 0
           ? DB_RUN(c->db, err, SQL_SEAL_USE, id)
           : error_set(err, ERR_CONFLICT, "processes without the sealing key %s: %s; copy seal.key "
                       "to them first", id, PQgetvalue(row, 0, 1));
}

/* One value, in a transaction of its own. */
static bool
keys_again(const struct core *c, const PGresult *rows, int i, struct error *err)
{
    const char            *context = PQgetvalue(rows, i, CONTEXT);
    const char            *before = PQgetvalue(rows, i, SEALED);
    CLEANUP(secret) char  *plain = unseal_text(c->seal, context, before, err);
    CLEANUP(mem) char     *after = plain ? seal_text(c->seal, context, plain, err) : NULL;

    CERTCTL_POINT("seal.before_replace");

    return after && DB_RUN(c->db, err, SQL_SEAL_REPLACE, PQgetvalue(rows, i, PLACE),
                           PQgetvalue(rows, i, ROW_ID), before, after);
}

bool
seal_keys_again(const struct core *c, int *rows, struct error *err)
{
    CLEANUP(mem) char           *id = keys_current(c, err);
    CLEANUP(pgresult) PGresult  *due = NULL;
    struct error                 why;
    bool                         all = true;

    *rows = 0;

    if (id == NULL || !seal_seals_with(c->seal, id)) {
        return id != NULL;         /* soon: seal_keys_follow() */
    }

    due = DB_EXEC(c->db, err, SQL_SEAL_DUE, id);
    if (due == NULL) {
        return false;
    }

    for (int i = 0; i < PQntuples(due); i++) {
        why = (struct error) { 0 };

        if (keys_again(c, due, i, &why)) {
            ++*rows;
        } else {
            all = error_set(err, why.code, "%s", why.detail);
        }
    }

    if (*rows) {
        log_event(LOG_NOTICE, "", "%d values are sealed again, with key %s", *rows, id);
    }

    return all;
}
