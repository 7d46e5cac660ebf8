/* Forward-only migrations: sql/schema in order, each applied once and remembered. */
#include "db.h"
#include "sql_migration.h"

#include <stdlib.h>
#include <string.h>

static bool
migration_apply(struct db *db, const struct sql_text *script, struct error *err)
{
    CLEANUP(pgresult) PGresult   *known = NULL;
    CLEANUP(db_tx) struct db     *tx = NULL;

    if (!db_begin(db, err)) {
        return false;
    }

    tx = db;

    /* Replicas start together: one applies, the others wait and see it done. */
    if (!DB_RUN(db, err, SQL_MIGRATION_LOCK)) {
        return false;
    }

    known = DB_EXEC(db, err, SQL_MIGRATION_KNOWN, script->name);
    if (known == NULL) {
        return false;
    }

    if (PQntuples(known)) {
        return db_commit(db, err);
    }

    return (db_script(db, script->text, err)
            || error_prefix(err, "migration %s", script->name))
           && DB_RUN(db, err, SQL_MIGRATION_ADD, script->name)
           && db_commit(db, err);
}

bool
db_migrate(struct db *db, struct error *err)
{
    if (!db_begin(db, err)
        || !DB_RUN(db, err, SQL_MIGRATION_LOCK)
        || !DB_RUN(db, err, SQL_MIGRATION_TABLE)
        || !db_commit(db, err))
    {
        db_rollback(db);
        return false;
    }

    for (const struct sql_text *s = sql_schema; s->name; s++) {
        if (!migration_apply(db, s, err)) {
            return false;
        }
    }

    /* first data is applied once, too: what was deleted stays away */
    for (const struct sql_text *s = sql_seed; s->name; s++) {
        if (strcmp(s->name, "base.sql") == 0 && !migration_apply(db, s, err)) {
            return false;
        }
    }

    return true;
}
