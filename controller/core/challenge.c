/*
 * Challenges on hosts.  A row is stored before its host is told and goes after
 * the host has deleted it, so that no crash leaves an unlisted one behind.
 */
#include "challenge.h"

#include "link.h"
#include "point.h"
#include "sql_order.h"

#include <string.h>

#define CHALLENGE_LIFE      86400     /* on a host; placed again after half of it */
#define CHALLENGE_NAME_MAX  255

enum { ID, AGENT, TYPE, NAME, VALUE, ONLINE, PLACED };

/* Base64url, or a DNS name or IP address: it becomes a part of a path. */
static bool
challenge_name(const struct issuer_challenge *ch, struct error *err)
{
    size_t  len = strlen(ch->name);

    return (len > 0 && len <= CHALLENGE_NAME_MAX
            && strspn(ch->name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                "0123456789-_.:") == len
            && *ch->name != '.')
           || error_set(err, ERR_INVALID, "RFC 8555 8.3: the CA's %s challenge for %s has "
                        "a token that is not base64url", ch->type, ch->identifier);
}

bool
challenge_plan(const struct core *c, const char *order_id,
    const struct issuer_challenge *ch, struct error *err)
{
    int  rows;

    if (!challenge_name(ch, err)) {
        return false;
    }

    if (ch->withdraw) {
        return DB_RUN(c->db, err, SQL_CHALLENGE_LEAVE, order_id, ch->type, ch->name);
    }

    if (!db_run(c->db, SQL_CHALLENGE_PLAN, 5,
                (const char *[]) { order_id, ch->type, ch->name, ch->value,
                                   ch->identifier }, &rows, err))
    {
        return false;
    }

    return rows > 0
           || error_set(err, ERR_INVALID, "no host can answer the %s challenge for %s",
                        ch->type, ch->identifier);
}

static bool
challenge_put(struct work *w, const PGresult *rows, int i, struct error *err)
{
    CLEANUP(agent_row) struct agent_row  agent = { 0 };
    const struct target                 *module = target_find("nginx-module");

    return link_agent(w, PQgetvalue(rows, i, AGENT), &agent, err)
           && module->challenge_put(&agent.link, PQgetvalue(rows, i, TYPE),
                                    PQgetvalue(rows, i, NAME),
                                    PQgetvalue(rows, i, VALUE), CHALLENGE_LIFE, err);
}

static bool
challenge_state(struct work *w, const struct sql_statement *sql, const char *id, struct error *err)
{
    CLEANUP(db_tx) struct db  *tx = NULL;

    return work_begin(w, &tx, err) && DB_RUN(tx, err, sql, id) && db_commit(tx, err);
}

/* CONFLICT: the host has a challenge of this name, of another order. */
static bool
challenge_place_one(struct work *w, const PGresult *rows, int i, struct error *err)
{
    const char  *id = PQgetvalue(rows, i, ID);

    if (!challenge_state(w, SQL_CHALLENGE_PLACING, id, err)) {
        return err->code == ERR_CONFLICT
               ? error_set(err, ERR_UNAVAILABLE, "another order has a %s challenge for %s",
                           PQgetvalue(rows, i, TYPE), PQgetvalue(rows, i, NAME))
               : false;
    }

    CERTCTL_POINT("challenge.before_put");

    if (!challenge_put(w, rows, i, err)) {
        return error_prefix(err, "challenge on %s", PQgetvalue(rows, i, AGENT));
    }

    CERTCTL_POINT("challenge.put");

    return challenge_state(w, SQL_CHALLENGE_PLACED, id, err);
}

bool
challenge_place(struct work *w, const char *order_id, struct error *err)
{
    CLEANUP(pgresult) PGresult  *rows = NULL;
    struct error                 why = { 0 };
    int                          placed = 0;

    rows = DB_EXEC(w->core.db, err, SQL_CHALLENGE_DUE, order_id);

    for (int i = 0; i < PQntuples(rows); i++) {
        if (!work_alive(w, err)) {
            return false;
        }

        if (challenge_place_one(w, rows, i, &why)) {
            placed++;
            continue;
        }

        if (*PQgetvalue(rows, i, ONLINE) == 't'
            || (placed == 0 && strcmp(PQgetvalue(rows, i, PLACED), "0") == 0))
        {
            *err = why;
            return false;
        }
    }

    return rows != NULL;
}

static bool
challenge_delete(struct work *w, const PGresult *rows, int i, struct error *err)
{
    CLEANUP(agent_row) struct agent_row  agent = { 0 };
    const struct target                 *module = target_find("nginx-module");

    CERTCTL_POINT("challenge.before_delete");

    if (!link_agent(w, PQgetvalue(rows, i, AGENT), &agent, err)
        || !module->challenge_delete(&agent.link, PQgetvalue(rows, i, TYPE),
                                     PQgetvalue(rows, i, NAME), err))
    {
        return false;
    }

    CERTCTL_POINT("challenge.deleted");

    return DB_RUN(w->core.db, err, SQL_CHALLENGE_GONE, PQgetvalue(rows, i, ID));
}

void
challenge_withdraw(struct work *w, const char *order_id, bool all)
{
    CLEANUP(pgresult) PGresult  *rows = NULL;
    struct error                 ignored = { 0 };

    if (all && !DB_RUN(w->core.db, &ignored, SQL_CHALLENGE_LEAVE, order_id, NULL, NULL)) {
        return;
    }

    rows = DB_EXEC(w->core.db, &ignored, SQL_CHALLENGE_LEAVING, order_id);

    for (int i = 0; i < PQntuples(rows); i++) {
        work_hold(w);

        if (!work_alive(w, &ignored)) {
            return;
        }

        challenge_delete(w, rows, i, &ignored);
    }
}

/* The job behind the loop: what an agent may have left of ended orders. */
enum work_result
challenge_run(struct work *w, struct error *err)
{
    CLEANUP(pgresult) PGresult  *rows = NULL;

    rows = DB_EXEC(w->core.db, err, SQL_CHALLENGE_LEFT, w->agent_id);
    w->quiet = true;

    for (int i = 0; i < PQntuples(rows); i++) {
        work_hold(w);

        if (!work_alive(w, err) || !challenge_delete(w, rows, i, err)) {
            return WORK_FAILED;
        }
    }

    return rows ? WORK_DONE : WORK_FAILED;
}
